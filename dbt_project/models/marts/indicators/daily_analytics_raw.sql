{{
    config(
        enabled='raw' in var('daily_prices'),
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        indexes=[
            {'columns': ['symbol', 'session_date'], 'unique': true},
            {'columns': ['company', 'bar_at']},
            {'columns': ['session_date']},
        ],
        pre_hook=["{{ begin_building() }}", "{{ begin_daily_indicators(this, ref('historical_ohlcv'), 'staging.raw_indicators', 'raw') }}"],
        post_hook="{{ watch_indicators(this) }}",
    )
}}

{{ daily_indicators('staging.raw_indicators') }}
