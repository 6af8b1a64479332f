{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        indexes=[
            {'columns': ['symbol', 'interval', 'bar_at'], 'unique': true},
            {'columns': ['symbol', 'session_date']},
        ],
        pre_hook=["{{ begin_building() }}", "{{ follow_tapes(this, ref('intraday_ohlcv')) }}", "{{ begin_intraday_indicators(this, ref('intraday_ohlcv'), 'staging.intraday_indicators') }}"],
        post_hook=["{{ watch_indicators(this) }}", "{{ queue_evaluations(this) }}"],
    )
}}

with

changed_bars as (

    -- Depends on {{ ref('intraday_ohlcv') }}, which the function reads.
    select
        changed_series.symbol,
        changed_series.interval,
        252 * 390.0 / (
            case changed_series.interval
                when '1m' then 1
                when '5m' then 5
                when '15m' then 15
                when '1h' then 60
            end
        ) as bars_per_year,
        indicators.*
    from changed_series
    cross join lateral staging.intraday_indicators(
        changed_series.symbol, changed_series.interval, changed_series.from_at
    ) as indicators

),

final as (

    select
        passes.symbol,
        passes.interval,
        passes.bar_at,
        passes.session_date,
        passes.segment,
        passes.open::numeric(18, 6) as open,
        passes.high::numeric(18, 6) as high,
        passes.low::numeric(18, 6) as low,
        passes.close::numeric(18, 6) as close,
        passes.volume::bigint as volume,
        passes.bar_vwap::numeric(18, 6) as bar_vwap,
        passes.is_final,
        passes.revision,
        passes.origin,
        passes.is_vendor_bar,
        passes.revised_at,
        {{ indicator_values() }}
    from changed_bars as passes
    {{ join_indicator_values() }}

)

select * from final
