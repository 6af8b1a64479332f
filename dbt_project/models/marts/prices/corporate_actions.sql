{{ config(materialized='view') }}

with

judged_actions as (

    select * from {{ ref('int_judged_actions') }}

),

final as (

    select
        symbol,
        action,
        effective_date,
        status,
        evidence,
        source,
        known_at,
        known_date,
        new_shares,
        old_shares,
        cash,
        new_symbol,
        session_before,
        price_before,
        session_after,
        price_after,
        announced_ratio,
        observed_ratio,
        ingested_at
    from judged_actions

)

select * from final
