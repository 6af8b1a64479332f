{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        indexes=[
            {'columns': ['symbol', 'session_date'], 'unique': true},
            {'columns': ['company', 'bar_at']},
            {'columns': ['session_date']},
        ],
        pre_hook=["{{ begin_building() }}", "{{ begin_daily_indicators(this, ref('historical_ohlcv'), 'staging.split_adjusted_indicators', 'split_adjusted') }}"],
        post_hook=["{{ watch_indicators(this) }}", "{{ queue_evaluations(this, is_daily=true) }}"],
    )
}}

{{ daily_indicators('staging.split_adjusted_indicators') }}
