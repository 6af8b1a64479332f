with

source as (

    select * from {{ source('lake', 'session_arrivals') }}

),

renamed as (

    select
        -- key
        source,
        symbol,
        session_date,

        -- how the messages came
        trades,
        late_trades,
        rejected_messages,
        counted_at
    from source

)

select * from renamed
