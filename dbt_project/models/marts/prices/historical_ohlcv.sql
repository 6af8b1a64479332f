{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['symbol', 'session_date'],
        on_schema_change='append_new_columns',
        indexes=[
            {'columns': ['symbol', 'session_date'], 'unique': true},
            {'columns': ['session_date']},
            {'columns': ['current_symbol', 'session_date']},
        ],
        pre_hook="{{ begin_building() }}",
        post_hook=[
            "{{ delete_days_without_bar(this, daily_followers()) }}",
            "{{ queue_built_days(this, daily_followers()) }}",
            "{{ watch_changes(this) }}",
            "{{ create_function_as_known(this) }}",
        ],
    )
}}

with

days as (

    select * from {{ ref('int_daily_bars') }}

),

adjustments as materialized (

    select * from {{ ref('int_adjustments') }}

),

digests as (

    -- All that is said of a symbol: days need not be looked up in its spans to see that nothing has changed.
    select
        symbol,
        md5(string_agg(
            concat_ws('/', from_date, split_factor, total_return_factor, coalesce(current_symbol, '-')),
            '|' order by from_date
        )) as digest
    from adjustments
    group by symbol

),

adjusted_days as (

    select
        days.symbol,
        days.interval,
        days.bar_at,
        days.open,
        days.high,
        days.low,
        days.close,
        days.volume,
        days.vwap,
        days.trade_count,
        days.session_date,
        days.segment,
        days.is_final,
        days.revision,
        days.origin,
        days.is_vendor_bar,
        days.revised_at,
        md5(concat_ws('/', days.built_from, digests.digest, {{ logic_version() }}))::uuid as built_from
    from days
    left join digests
        on days.symbol = digests.symbol

),

changed_days as (

    select
        adjusted_days.symbol,
        adjusted_days.interval,
        adjusted_days.bar_at,
        adjusted_days.open,
        adjusted_days.high,
        adjusted_days.low,
        adjusted_days.close,
        adjusted_days.volume,
        adjusted_days.vwap,
        adjusted_days.trade_count,
        adjusted_days.session_date,
        adjusted_days.segment,
        adjusted_days.is_final,
        adjusted_days.revision,
        adjusted_days.origin,
        adjusted_days.is_vendor_bar,
        adjusted_days.revised_at,
        adjusted_days.built_from
    from adjusted_days
    {% if is_incremental() %}
        left join {{ this }} as built
            on adjusted_days.symbol = built.symbol
            and adjusted_days.session_date = built.session_date
        where built.built_from is distinct from adjusted_days.built_from
    {% endif %}

),

final as (

    select
        changed_days.symbol,
        changed_days.interval,
        changed_days.bar_at,
        changed_days.open,
        changed_days.high,
        changed_days.low,
        changed_days.close,
        changed_days.volume,
        changed_days.vwap,
        changed_days.trade_count,
        changed_days.session_date,
        changed_days.segment,
        changed_days.is_final,
        changed_days.revision,
        changed_days.origin,
        changed_days.is_vendor_bar,
        changed_days.revised_at,
        changed_days.built_from,
        {{ adjusted_bar('changed_days', 'spans') }}
    from changed_days
    left join adjustments as spans
        on changed_days.symbol = spans.symbol
        and changed_days.session_date >= spans.from_date
        and changed_days.session_date < spans.until_date
    {{ join_factors('spans') }}

)

select * from final
