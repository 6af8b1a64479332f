{{ config(materialized='view') }}

with

scores as (

    select * from {{ ref('int_robust_scores') }}

),

measures as (

    select
        scores.symbol,
        scores.session_date,
        measured.kind,
        measured.z,
        measured.value,
        measured.median,
        measured.mad,
        measured.spread,
        measured.sessions_used,
        scores.open,
        scores.close,
        scores.previous_close,
        scores.volume,
        (exp(scores.volume_median) - 1) * scores.split_factor as median_volume,
        scores.is_final,
        scores.is_simulated,
        scores.origin
    from scores
    cross join
        lateral (
            values
            (
                'return',
                scores.return_z,
                scores.total_log_return,
                scores.return_median,
                scores.return_mad,
                scores.return_spread,
                scores.return_sessions
            ),
            (
                'overnight_gap',
                scores.gap_z,
                scores.overnight_gap,
                scores.gap_median,
                scores.gap_mad,
                scores.gap_spread,
                scores.gap_sessions
            ),
            (
                'volume',
                scores.volume_z,
                scores.log_volume,
                scores.volume_median,
                scores.volume_mad,
                scores.volume_spread,
                scores.volume_sessions
            )
        ) as measured (kind, z, value, median, mad, spread, sessions_used)
    where abs(measured.z) >= {{ var('anomaly_threshold') }}

),

final as (

    select
        symbol,
        session_date,
        kind,
        -- No tool reads an infinite number.
        case when spread > 0 then z end as z,
        case when value > median then 'high' else 'low' end as direction,
        value,
        median,
        mad,
        spread,
        case
            when spread = 0 then 'constant'
            when mad > 1e-9 then 'mad'
            else 'mean_distance'
        end as spread_from,
        sessions_used,
        open,
        close,
        previous_close,
        volume,
        median_volume,
        is_final,
        is_simulated,
        origin
    from measures

)

select * from final
