{#- Fails for every session whose minutes are not those that are there and those of its gaps, or that has more parts than it has bars, those without a trade among them. -#}
{% test quality_identities(model) %}
select *
from {{ model }}
where present_minutes + no_trade_minutes + halted_minutes + feed_down_minutes + not_collected_minutes
    is distinct from expected_minutes
    or coverage not between 0 and 1
    or (coverage is null) <> (expected_minutes = 0)
    or revised_bars > present_minutes + no_trade_minutes
    or revisions < revised_bars
    or prices_differ_bars + volume_differs_bars + one_sided_bars > compared_bars
{% endtest %}
