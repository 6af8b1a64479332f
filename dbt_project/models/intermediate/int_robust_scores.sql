{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        indexes=[
            {'columns': ['symbol', 'session_date'], 'unique': true},
            {'columns': ['is_simulated', 'session_date']},
        ],
        pre_hook=["{{ begin_building() }}", "{{ begin_scores(this) }}"],
        post_hook="{{ watch_summary(this, scores_logic()) }}",
    )
}}

with

missing_sessions as materialized (

    select
        finished.session_date,
        finished.is_simulated
    from {{ ref('int_finished_sessions') }} as finished
    where
        finished.recency <= {{ var('anomaly_sessions_shown') }}
        {% if is_incremental() %}
            and not exists (
                select from {{ this }} as built
                where
                    built.is_simulated = finished.is_simulated
                    and built.session_date = finished.session_date
            )
        {% endif %}

),

moves as materialized (

    -- Materialized, or each of the windows below would work these out again for every row of every frame. Nothing is
    -- looked at where nothing is missing.
    select *
    from {{ ref('int_daily_moves') }}
    where exists (select from missing_sessions)

),

windows as (

    select
        moves.*,
        array_agg(moves.total_log_return) over evidence as total_log_returns,
        array_agg(moves.overnight_gap) over evidence as overnight_gaps,
        array_agg(moves.log_volume) over evidence as log_volumes
    from moves
    window evidence as (
        partition by moves.company, moves.is_gone, moves.is_simulated
        order by moves.recency desc
        range between {{ var('anomaly_sessions') }} preceding and 1 preceding
    )

),

weighed as (

    select
        windows.*,
        {{ robust_columns('return', 'windows.total_log_return') }},
        {{ robust_columns('gap', 'windows.overnight_gap') }},
        {{ robust_columns('volume', 'windows.log_volume') }}
    from windows
    inner join missing_sessions
        on windows.is_simulated = missing_sessions.is_simulated
        and windows.session_date = missing_sessions.session_date
    cross join lateral {{ robust_statistics('windows.total_log_returns') }} as return_statistics
    cross join lateral {{ robust_statistics('windows.overnight_gaps') }} as gap_statistics
    cross join lateral {{ robust_statistics('windows.log_volumes') }} as volume_statistics

),

final as (

    select
        symbol,
        session_date,
        is_simulated,
        is_final,
        open,
        close,
        previous_close,
        volume,
        split_factor,
        origin,
        total_log_return,
        return_sessions,
        return_median,
        return_mad,
        return_spread,
        return_z,
        overnight_gap,
        gap_sessions,
        gap_median,
        gap_mad,
        gap_spread,
        gap_z,
        log_volume,
        volume_sessions,
        volume_median,
        volume_mad,
        volume_spread,
        volume_z
    from weighed

)

select * from final
