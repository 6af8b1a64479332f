{#- Deletes the days of which there is no raw bar any more. -#}
{% macro delete_days_without_bar(relation) -%}
    delete from {{ relation }} as built
    where not exists (
        select from {{ ref('int_daily_bars') }} as known
        where known.symbol = built.symbol
            and known.session_date = built.session_date
    )
{%- endmacro %}
