{{ config(materialized='view') }}

with

newest_sessions as (

    select
        is_simulated,
        max(session_date) as session_date
    from {{ ref('market_breadth') }}
    group by is_simulated

),

days as (

    select
        days.symbol,
        days.session_date,
        days.close,
        (100 * days.return_1) as change_pct,
        days.volume,
        {% if 20 in var('indicators').relative_volume %}
            days.relative_volume_20 as volume_ratio,
        {% else %}
            null::double precision as volume_ratio,
        {% endif %}
        days.is_final,
        newest_sessions.is_simulated,
        days.origin
    from newest_sessions
    inner join {{ ref('daily_analytics') }} as days
        on newest_sessions.session_date = days.session_date
        and newest_sessions.is_simulated = {{ is_last_resort('days.origin') }}

),

candidates as (

    select
        days.*,
        lists.ranking,
        lists.measure
    from days
    cross join
        lateral (
            values
            ('gainers', case when days.change_pct > 0 then days.change_pct end),
            ('losers', case when days.change_pct < 0 then -days.change_pct end),
            ('most_active', nullif(days.volume, 0)::double precision),
            ('unusual_volume', nullif(days.volume_ratio, 0))
        ) as lists (ranking, measure)
    where lists.measure is not null

),

ranked as (

    select
        candidates.*,
        row_number() over (
            partition by candidates.is_simulated, candidates.ranking
            order by candidates.measure desc, candidates.symbol asc
        ) as rank
    from candidates

),

final as (

    select
        ranking,
        rank,
        symbol,
        session_date,
        close,
        change_pct,
        volume,
        volume_ratio,
        is_final,
        is_simulated,
        origin
    from ranked
    where rank <= {{ var('movers_shown') }}

)

select * from final
