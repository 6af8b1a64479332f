with

source as (

    select * from {{ source('lake', 'corporate_actions') }}

),

renamed as (

    select
        -- key
        source,
        symbol,
        action,
        session_date as effective_date,
        partition,
        "offset",

        -- knowledge
        known_at,
        (known_at at time zone 'America/New_York')::date as known_date,
        is_withdrawn,

        -- values
        new_shares,
        old_shares,
        cash,
        new_symbol,

        -- changes
        ingested_at
    from source

)

select * from renamed
