with

source as (

    select * from {{ source('lake', 'latest_quotes') }}

),

renamed as (

    select
        -- key
        source,
        symbol,

        -- bid
        bid,
        bid_size,
        bid_at,

        -- ask
        ask,
        ask_size,
        ask_at,

        -- times
        quoted_at
    from source

)

select * from renamed
