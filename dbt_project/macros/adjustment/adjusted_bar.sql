{#-
  The columns that adjustment adds to a day (`days`), by the span that it lies in (`spans`, outer joined): each adjusted value is
  the raw one times or over the factor beside it, rounded half up, prices to six decimals and volumes to whole shares.
-#}
{% macro adjusted_bar(days, spans) -%}
    case when {{ spans }}.symbol is null then {{ days }}.symbol else {{ spans }}.current_symbol end as current_symbol,
        factors.split_factor,
        factors.total_return_factor
        {%- for name in ['open', 'high', 'low', 'close'] %},
        ({{ days }}.{{ name }} * factors.split_factor)::numeric(38, 6) as split_adjusted_{{ name }}
        {%- endfor %},
        ({{ days }}.volume::numeric(48, 24) / nullif(factors.split_factor, 0))::numeric(38, 0) as split_adjusted_volume
        {%- for name in ['open', 'high', 'low', 'close'] %},
        ({{ days }}.{{ name }} * factors.total_return_factor)::numeric(38, 6) as total_return_{{ name }}
        {%- endfor %}
{%- endmacro %}

{#- The factors of a span, or 1 where there is none: a join for adjusted_bar. -#}
{% macro join_factors(spans) -%}
    cross join lateral (
        select
            coalesce({{ spans }}.split_factor, 1)::numeric(38, 18) as split_factor,
            coalesce({{ spans }}.total_return_factor, 1)::numeric(38, 18) as total_return_factor
    ) as factors
{%- endmacro %}
