with

symbol_sessions as (

    select
        symbol,
        session_date,
        source,
        tape_at,
        revised_at,
        fingerprint
    from {{ ref('int_symbol_sessions') }}

),

intraday_tier as (

    -- One row, whether or not anything was said of the tier yet.
    select max(kept_since_at) as kept_since_at
    from {{ ref('stg_tiers') }}
    where tier = 'intraday'

),

final as (

    select
        symbol_sessions.symbol,
        symbol_sessions.session_date,
        symbol_sessions.source,
        symbol_sessions.tape_at,
        symbol_sessions.fingerprint
    from symbol_sessions
    cross join intraday_tier
    where
        intraday_tier.kept_since_at is null
        or symbol_sessions.session_date >= (intraday_tier.kept_since_at at time zone 'UTC')::date
        or symbol_sessions.revised_at >= intraday_tier.kept_since_at

)

select * from final
