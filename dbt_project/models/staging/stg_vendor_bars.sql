with

source as (

    select * from {{ source('lake', 'vendor_bars') }}

),

renamed as (

    select
        -- key
        source,
        symbol,
        interval,
        bar_at,

        -- session
        session_date,

        -- prices
        open,
        high,
        low,
        close,

        -- sums
        volume,

        -- changes
        revision,
        ingested_at
    from source

)

select * from renamed
