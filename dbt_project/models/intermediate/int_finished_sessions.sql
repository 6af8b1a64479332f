with

breadth as (

    select
        session_date,
        is_simulated,
        is_final,
        max(session_date) over (partition by is_simulated) as newest_session_date
    from {{ ref('market_breadth') }}

),

final as (

    -- Where a later one has begun, a session is over, whatever a feed that went away says of it.
    select
        session_date,
        is_simulated,
        row_number() over (
            partition by is_simulated
            order by session_date desc
        ) as recency
    from breadth
    where is_final or session_date < newest_session_date

)

select * from final
