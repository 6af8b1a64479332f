with

sessions as materialized (

    -- Materialized, or the session before would be looked up again for every day.
    select
        finished.session_date,
        finished.is_simulated,
        finished.recency,
        (
            select max(earlier.session_date)
            from {{ ref('stg_sessions') }} as earlier
            where earlier.session_date < finished.session_date
        ) as session_before
    from {{ ref('int_finished_sessions') }} as finished
    where finished.recency <= {{ moves_sessions() }}

),

bars as (

    -- One session after the other by the index: they are a small part of the mart, which nobody can estimate here.
    select
        sessions.session_date,
        sessions.is_simulated,
        sessions.recency,
        sessions.session_before,
        coalesce(days.current_symbol, days.symbol) as company,
        days.current_symbol is null as is_gone,
        days.symbol,
        days.is_final,
        days.open,
        days.close,
        days.volume,
        days.origin,
        days.split_factor,
        days.total_return_factor::double precision as total_return_factor
    from sessions
    cross join
        lateral (
            select listed.*
            from {{ ref('historical_ohlcv') }} as listed
            where
                listed.session_date = sessions.session_date
                and listed.close > 0
                and {{ is_last_resort('listed.origin') }} = sessions.is_simulated
            offset 0
        ) as days

),

lagged as (

    select
        bars.*,
        lag(bars.session_date) over series as bar_before,
        lag(bars.close) over series as close_before,
        lag(bars.split_factor) over series as split_factor_before,
        lag(bars.total_return_factor) over series as total_return_factor_before
    from bars
    window series as (
        partition by bars.company, bars.is_gone, bars.is_simulated
        order by bars.session_date, bars.symbol
    )

),

priced as (

    -- In this session's shares. After a session without a bar there is no close before.
    select
        lagged.*,
        case
            when lagged.bar_before <> lagged.session_before then null
            when lagged.split_factor = lagged.split_factor_before then lagged.close_before
            else round(lagged.close_before * lagged.split_factor_before / nullif(lagged.split_factor, 0), 6)
        end as previous_close,
        case
            when lagged.bar_before = lagged.session_before
                then {{ reinvested_close(
                    'lagged.close_before', 'lagged.total_return_factor_before', 'lagged.total_return_factor'
                ) }}
        end as reinvested_close
    from lagged

),

final as (

    select
        symbol,
        session_date,
        recency,
        company,
        is_gone,
        is_simulated,
        is_final,
        open,
        close,
        volume,
        origin,
        split_factor::double precision as split_factor,
        previous_close::numeric(38, 6) as previous_close,
        case when reinvested_close > 0 then ln(close::double precision / reinvested_close) end as total_log_return,
        case
            when reinvested_close > 0 and open > 0 then ln(open::double precision / reinvested_close)
        end as overnight_gap,
        -- Of a day that goes on it would always be low.
        case
            when is_final
                then ln(1 + volume::double precision / nullif(split_factor, 0)::double precision)
        end as log_volume
    from priced

)

select * from final
