{{
    config(
        enabled='total_return' in var('daily_prices'),
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        indexes=[
            {'columns': ['symbol', 'session_date'], 'unique': true},
            {'columns': ['company', 'bar_at']},
            {'columns': ['session_date']},
        ],
        pre_hook=["{{ begin_building() }}", "{{ begin_daily_indicators(this, ref('historical_ohlcv'), 'staging.total_return_indicators', 'total_return') }}"],
        post_hook="{{ watch_indicators(this) }}",
    )
}}

with

changed_days as (

    -- Depends on {{ ref('historical_ohlcv') }}, which the function reads.
    select
        changed_series.company,
        252 as bars_per_year,
        indicators.*
    from changed_series
    cross join lateral staging.total_return_indicators(changed_series.company, changed_series.from_at) as indicators

),

final as (

    select
        passes.symbol,
        passes.interval,
        passes.bar_at,
        passes.session_date,
        passes.segment,
        passes.company,
        passes.current_symbol,
        passes.open::numeric(38, 6) as open,
        passes.high::numeric(38, 6) as high,
        passes.low::numeric(38, 6) as low,
        passes.close::numeric(38, 6) as close,
        passes.volume::numeric(38, 0) as volume,
        passes.bar_vwap::numeric(38, 6) as bar_vwap,
        passes.is_final,
        passes.revision,
        passes.origin,
        passes.is_vendor_bar,
        passes.revised_at,
        {{ indicator_values(is_daily=true) }}
    from changed_days as passes
    {{ join_indicator_values(is_daily=true) }}

)

select * from final
