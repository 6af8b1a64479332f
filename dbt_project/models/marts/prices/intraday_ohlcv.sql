{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['symbol', 'session_date'],
        on_schema_change='append_new_columns',
        indexes=[
            {'columns': ['symbol', 'interval', 'bar_at'], 'unique': true},
            {'columns': ['symbol', 'session_date']},
        ],
        pre_hook=["{{ begin_building() }}", "{{ delete_outdated_sessions(this, ref('int_kept_sessions'), logic_version(intraday_bars()), 'intraday_analytics') }}"],
        post_hook="{{ watch_changes(this) }}",
    )
}}

with

known_sessions as (

    select
        symbol,
        session_date,
        own_source,
        tape_at,
        has_whole_pre,
        has_whole_regular,
        has_whole_post,
        is_last_resort,
        md5(concat_ws('/', fingerprint, {{ logic_version(intraday_bars()) }}))::uuid as built_from
    from {{ ref('int_kept_sessions') }}

),

changed_sessions as (

    -- What is there was built from what there is: the rest was deleted right before.
    select
        known_sessions.symbol,
        known_sessions.session_date,
        known_sessions.own_source,
        known_sessions.tape_at,
        known_sessions.has_whole_pre,
        known_sessions.has_whole_regular,
        known_sessions.has_whole_post,
        known_sessions.is_last_resort,
        known_sessions.built_from
    from known_sessions
    {% if is_incremental() %}
        where not exists (
            select from {{ this }} as built
            where
                built.symbol = known_sessions.symbol
                and built.session_date = known_sessions.session_date
        )
    {% endif %}

),

{{ intraday_bars() }},

final as (

    select
        symbol,
        interval,
        bar_at,
        open,
        high,
        low,
        close,
        volume,
        vwap,
        trade_count,
        session_date,
        segment,
        is_final,
        revision,
        source as origin,
        is_vendor_bar,
        revised_at,
        built_from
    from intraday_bars
    where is_shown

)

select * from final
