with

source as (

    select * from {{ source('lake', 'feed_coverage') }}

),

renamed as (

    select
        -- key
        source,
        symbol,
        session_date,

        -- coverage
        covered
    from source

)

select * from renamed
