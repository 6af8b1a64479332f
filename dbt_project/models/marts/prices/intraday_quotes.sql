{{ config(materialized='view') }}

with

minutes as (

    select * from {{ ref('stg_quotes_1m') }}

),

intraday_tier as (

    -- One row, whether or not anything was said of the tier yet.
    select max(kept_since_at) as kept_since_at
    from {{ ref('stg_tiers') }}
    where tier = 'intraday'

),

final as (

    select
        minutes.symbol,
        minutes.bar_at,
        minutes.session_date,
        minutes.segment,
        minutes.bid,
        minutes.bid_size,
        minutes.bid_at,
        minutes.ask,
        minutes.ask_size,
        minutes.ask_at,
        (minutes.ask - minutes.bid)::numeric(18, 6) as spread,
        round((minutes.bid + minutes.ask) / 2, 6)::numeric(18, 6) as mid,
        minutes.revised_at,
        minutes.source as origin
    from minutes
    cross join intraday_tier
    where
        {{ is_kept_within_the_day('minutes') }}

)

select * from final
