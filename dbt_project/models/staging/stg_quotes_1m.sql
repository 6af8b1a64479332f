with

source as (

    select * from {{ source('lake', 'quotes_1m') }}

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

        -- bid
        bid,
        bid_size,
        bid_at,

        -- ask
        ask,
        ask_size,
        ask_at,

        -- changes
        revised_at
    from source

)

select * from renamed
