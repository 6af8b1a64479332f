{#-
  Who traded under a symbol when: one row per symbol that was ever taken or given up, and span of time between two such days.
  A span ends because what traded under the symbol goes on under next_symbol, or because something else took the symbol (then
  next_symbol is null), or it lasts. Symbols that never changed have no row.

  A change that bars contradict (`change_doubt`, of `said_actions`) is left out. Each step to a next symbol goes to a later day, so whatever the changes say, no row of them can go in a circle.
-#}
{% macro symbol_tenures(actions, days, change_doubt) -%}
    with

    changes as (

        select
            symbol,
            new_symbol,
            effective_date
        from {{ actions }} as said_actions
        where action = 'symbol_change'
            and {{ change_doubt }} is null
            -- A change that is announced for a day of which there is no bar yet has changed nothing.
            and effective_date <= (select max(session_date) from {{ days }})

    ),

    cuts as (

        select
            symbol,
            effective_date
        from changes
        union
        select
            new_symbol,
            effective_date
        from changes
        union
        select
            symbol,
            '-infinity'::date
        from changes
        union
        select
            new_symbol,
            '-infinity'::date
        from changes

    ),

    spans as (

        select
            symbol,
            effective_date as starts_on,
            lead(effective_date, 1, 'infinity'::date) over (
                partition by symbol
                order by effective_date
            ) as ends_on
        from cuts

    )

    select
        spans.symbol,
        spans.starts_on,
        spans.ends_on,
        given_up.new_symbol as next_symbol,
        taken_from.symbol as previous_symbol
    from spans
    left join changes as given_up
        on spans.symbol = given_up.symbol
        and spans.ends_on = given_up.effective_date
    left join lateral (
        select min(changes.symbol) as symbol
        from changes
        where changes.new_symbol = spans.symbol
            and changes.effective_date = spans.starts_on
    ) as taken_from on true
{%- endmacro %}
