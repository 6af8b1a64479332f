{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        indexes=[
            {'columns': ['symbol', 'session_date'], 'unique': true},
            {'columns': ['session_date']},
            {'columns': ['current_symbol', 'session_date']},
        ],
        pre_hook=[
            "{{ begin_building() }}",
            "{{ begin_adjusted_days(this, ref('int_daily_bars'), ref('int_adjustments'), logic_version(), daily_followers()) }}",
        ],
        post_hook=[
            "{{ watch_changes(this) }}",
            "{{ create_function_as_known(this) }}",
        ],
    )
}}

with

days as (

    select * from {{ ref('int_daily_bars') }}

),

{% if is_incremental() %}
    days_to_build as (

        -- begin_adjusted_days has filled changed_days and adjustments.
        select
            days.*,
            changed_days.built_from as adjusted_from
        from changed_days
        inner join days
            on changed_days.symbol = days.symbol
            and changed_days.session_date = days.session_date
        where changed_days.built_from is not null

    ),
{% else %}
    adjustments as materialized (

        select * from {{ ref('int_adjustments') }}

    ),

    digests as (

        {{ adjustment_digests('adjustments') }}

    ),

    logic as (

        select {{ logic_version() }} as version

    ),

    days_to_build as (

        select
            days.*,
            {{ adjusted_from('days', 'digests', 'logic.version') }} as adjusted_from
        from days
        cross join logic
        left join digests
            on days.symbol = digests.symbol

    ),
{% endif %}
final as (

    select
        days_to_build.symbol,
        days_to_build.interval,
        days_to_build.bar_at,
        days_to_build.open,
        days_to_build.high,
        days_to_build.low,
        days_to_build.close,
        days_to_build.volume,
        days_to_build.vwap,
        days_to_build.trade_count,
        days_to_build.session_date,
        days_to_build.segment,
        days_to_build.is_final,
        days_to_build.revision,
        days_to_build.origin,
        days_to_build.is_vendor_bar,
        days_to_build.revised_at,
        days_to_build.adjusted_from as built_from,
        {{ adjusted_bar('days_to_build', 'spans') }}
    from days_to_build
    left join adjustments as spans
        on days_to_build.symbol = spans.symbol
        and days_to_build.session_date >= spans.from_date
        and days_to_build.session_date < spans.until_date
    {{ join_factors('spans') }}

)

select * from final
