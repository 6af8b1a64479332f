with

source as (

    select * from {{ source('lake', 'tiers') }}

),

renamed as (

    select
        -- key
        tier,

        -- what it keeps
        kept_since_at,
        moved_at
    from source

)

select * from renamed
