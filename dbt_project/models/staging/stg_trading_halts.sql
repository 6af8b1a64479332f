with

source as (

    select * from {{ source('lake', 'trading_halts') }}

),

renamed as (

    select
        -- key
        source,
        symbol,
        changed_at,
        kind,
        reason
    from source

)

select * from renamed
