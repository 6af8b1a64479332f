with

source as (

    select * from {{ source('lake', 'bar_sessions') }}

),

renamed as (

    select
        -- key
        source,
        symbol,
        session_date,

        -- bars
        bar_count,
        newest_bar_at,

        -- changes
        revised_at,
        change_number
    from source

)

select * from renamed
