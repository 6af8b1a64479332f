{#-
  Deletes the bars of the symbols' sessions that have no minute left (someone deleted them in the lake): such a session
  gives the model no row, so that nothing would replace the rows that were built before.
-#}
{% macro delete_emptied_sessions(relation) -%}
    delete from {{ relation }} as built
    using (
        select symbol, session_date
        from {{ source('lake', 'bar_sessions') }}
        group by symbol, session_date
        having sum(bar_count) = 0
    ) as emptied
    where built.symbol = emptied.symbol
        and built.session_date = emptied.session_date
{%- endmacro %}
