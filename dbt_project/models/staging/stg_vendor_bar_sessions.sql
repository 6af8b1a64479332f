with

source as (

    select * from {{ source('lake', 'vendor_bar_sessions') }}

),

renamed as (

    select
        -- key
        source,
        symbol,
        interval,
        session_date,

        -- bars
        bar_count,

        -- changes
        change_number
    from source

)

select * from renamed
