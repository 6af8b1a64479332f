{{
    config(
        materialized='view',
        post_hook="{{ create_function_rolling_correlation() }}",
    )
}}

with

pairs as (

    select
        symbol,
        other_symbol,
        session_date,
        correlation,
        sessions_used,
        is_simulated
    from {{ ref('int_correlations') }}

),

mirrored as (

    -- Each pair under both of its symbols, so that a question about one of them needs no "or".
    select
        symbol,
        other_symbol,
        session_date,
        correlation,
        sessions_used,
        is_simulated
    from pairs

    union all

    select
        other_symbol as symbol,
        symbol as other_symbol,
        session_date,
        correlation,
        sessions_used,
        is_simulated
    from pairs

)

select * from mirrored
