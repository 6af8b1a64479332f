{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        indexes=[
            {'columns': ['symbol', 'interval', 'bar_at'], 'unique': true},
            {'columns': ['symbol', 'session_date']},
        ],
        pre_hook=["{{ begin_building() }}", "{{ begin_intraday_bars(this, ref('int_kept_sessions'), logic_version(intraday_bars()), 'intraday_analytics') }}"],
        post_hook="{{ watch_changes(this) }}",
    )
}}

with

{% if not is_incremental() %}
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
            null::timestamp with time zone as from_at,
            md5(concat_ws('/', fingerprint, {{ logic_version(intraday_bars()) }}))::uuid as built_from
        from {{ ref('int_kept_sessions') }}

    ),

    changed_sessions as (

        -- Otherwise a table that begin_intraday_bars has filled.
        select * from known_sessions

    ),
{% endif %}
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
