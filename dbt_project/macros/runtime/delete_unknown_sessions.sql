{#-
  Deletes the bars of the symbols' sessions that have no minute in the lake (somebody deleted them there, or put bars here), or are kept no longer:
  such a session gives the model no row, so that nothing would replace those that are there. It goes before the model, because
  a bar at a wrong session would keep the right one out. The sessions are looked up one after the other, by an index.
-#}
{% macro delete_unknown_sessions(relation) -%}
    {%- if is_incremental() -%}
        with recursive built as (
            (
                select symbol, session_date
                from {{ relation }}
                order by symbol, session_date
                limit 1
            )
            union all
            select next.symbol, next.session_date
            from built
            cross join lateral (
                select bars.symbol, bars.session_date
                from {{ relation }} as bars
                where (bars.symbol, bars.session_date) > (built.symbol, built.session_date)
                order by bars.symbol, bars.session_date
                limit 1
            ) as next
        ),
        unknown as (
            select symbol, session_date from built
            except
            select symbol, session_date from {{ ref('int_kept_sessions') }}
        )
        delete from {{ relation }} as bars
        using unknown
        where bars.symbol = unknown.symbol
            and bars.session_date = unknown.session_date
    {%- endif -%}
{%- endmacro %}
