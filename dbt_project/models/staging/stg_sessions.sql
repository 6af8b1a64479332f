with

source as (

    select * from {{ source('lake', 'sessions') }}

),

renamed as (

    select
        -- key
        session_date,

        -- times
        pre_open_at,
        open_at,
        close_at,
        post_close_at,

        -- kind
        is_half_day
    from source

)

select * from renamed
