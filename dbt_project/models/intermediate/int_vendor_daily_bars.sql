with

made_up_symbols as (

    select symbol
    from {{ ref('int_made_up_symbols') }}
    where is_made_up_daily

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
