{#-
  Deletes the rows of the symbols' sessions that were not built from what `known_sessions` says of them now, or that it does
  not know. It goes before the model, which builds the sessions that have no row: one that comes to nothing is gone with that,
  and a bar at a wrong session cannot keep the right one out. The sessions are looked up one after the other, by an index.
-#}
{% macro delete_outdated_sessions(relation, known_sessions, logic) -%}
    {%- if is_incremental() -%}
        with recursive built as (
            (
                select symbol, session_date, built_from
                from {{ relation }}
                order by symbol, session_date
                limit 1
            )
            union all
            select next.symbol, next.session_date, next.built_from
            from built
            cross join lateral (
                select bars.symbol, bars.session_date, bars.built_from
                from {{ relation }} as bars
                where (bars.symbol, bars.session_date) > (built.symbol, built.session_date)
                order by bars.symbol, bars.session_date
                limit 1
            ) as next
        ),
        logic as (
            select {{ logic }} as version
        ),
        known as (
            select
                sessions.symbol,
                sessions.session_date,
                md5(concat_ws('/', sessions.fingerprint, logic.version))::uuid as built_from
            from {{ known_sessions }} as sessions
            cross join logic
        ),
        changed as (
            select
                coalesce(built.symbol, known.symbol) as symbol,
                coalesce(built.session_date, known.session_date) as session_date
            from built
            full join known
                on built.symbol = known.symbol
                and built.session_date = known.session_date
            where built.built_from is distinct from known.built_from
        )
        delete from {{ relation }} as bars
        using changed
        where bars.symbol = changed.symbol
            and bars.session_date = changed.session_date
    {%- endif -%}
{%- endmacro %}
