{#-
  Deletes the daily bars of symbols' sessions that no longer have one: nothing is left in the lake, or no regular minute
  (the model gives such a session a row without volume, so that the row that was built before is replaced).
-#}
{% macro delete_sessions_without_daily_bar(relation) -%}
    delete from {{ relation }} as built
    where built.volume is null
        or not exists (
            select from {{ ref('int_daily_sessions') }} as known
            where known.symbol = built.symbol
                and known.session_date = built.session_date
        )
{%- endmacro %}
