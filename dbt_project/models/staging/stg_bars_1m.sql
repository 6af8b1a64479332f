with

source as (

    select * from {{ source('lake', 'bars_1m') }}

),

renamed as (

    select
        -- key
        source,
        symbol,
        bar_at,

        -- session
        session_date,
        segment,

        -- prices
        open,
        high,
        low,
        close,
        vwap,

        -- sums
        volume,
        notional,
        trade_count,
        excluded_trade_count,
        cancelled_trade_count,
        corrected_trade_count,

        -- changes
        revision,
        revised_at
    from source

)

select * from renamed
