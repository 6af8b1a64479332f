{#-
  Fails for every comparison that cannot be: of a source with itself, of bars that are both missing, with a difference that is
  not the other value minus the shown one, or with an agreement that its own values contradict.
-#}
{% test comparison_identities(model) %}
select *
from {{ model }}
where (origin = other_origin and is_vendor_bar = is_other_vendor_bar)
    or num_nulls(volume, other_volume) = 2
    or (num_nulls(volume, other_volume) = 1) <> (agreement in ('only_own', 'only_vendor', 'only_shown', 'only_other'))
    or (agreement in ('only_own', 'only_vendor') and is_vendor_bar = is_other_vendor_bar)
    or (agreement in ('only_shown', 'only_other') and not (is_vendor_bar and is_other_vendor_bar))
    {%- for name in ['open', 'high', 'low', 'close'] %}
        or {{ name }}_difference is distinct from other_{{ name }} - {{ name }}
        or sign({{ name }}_difference_bps) not in (0, sign({{ name }}_difference))
    {%- endfor %}
    or (agreement = 'agrees' and num_nulls(open_difference, high_difference, low_difference, close_difference) > 0)
    or (agreement = 'volume_differs' and volume = other_volume)
    or (agreement = 'prices_differ' and greatest(abs(open_difference), abs(high_difference), abs(low_difference), abs(close_difference)) = 0)
{% endtest %}
