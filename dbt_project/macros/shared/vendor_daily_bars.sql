{#- The vendor's bar of each day that is shown; see the page of int_vendor_daily_bars. `touched` is a relation as in intraday_sessions. -#}
{% macro vendor_daily_bars(touched=none) -%}
with

made_up_symbols as (

    select made_up.symbol
    from {{ made_up_symbols_of(touched) }} as made_up
    where made_up.is_made_up_daily

),

daily_bars as (

    select
        source,
        symbol,
        session_date,
        open,
        high,
        low,
        close,
        volume,
        revision,
        ingested_at,
        row_number() over (
            partition by symbol, session_date
            order by {{ source_rank('source') }}, source, bar_at desc
        ) as preference
    from {{ ref('stg_vendor_bars') }}
    where
        interval = '1d'
        {{ and_touched(touched) }}
        and (
            not {{ is_last_resort('source') }}
            or symbol in (select made_up_symbols.symbol from made_up_symbols)
        )

),

preferred as (

    select
        symbol,
        session_date,
        source,
        open,
        high,
        low,
        close,
        volume,
        revision,
        ingested_at
    from daily_bars
    where preference = 1

)

select * from preferred
{%- endmacro %}
