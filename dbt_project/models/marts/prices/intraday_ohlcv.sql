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
        pre_hook=["{{ begin_building() }}", "{{ delete_unknown_sessions(this) }}"],
        post_hook="{{ watch_changes(this) }}",
    )
}}

with

symbol_sessions as (

    select
        symbol,
        session_date,
        source,
        tape_at,
        md5(concat_ws('/', fingerprint, {{ logic_version() }}))::uuid as built_from
    from {{ ref('int_kept_sessions') }}

),

{% if is_incremental() %}

    built_bars as (

        select
            symbol,
            session_date,
            built_from
        from {{ this }}

    ),

{% endif %}

changed_sessions as (

    -- Every row of a symbol's session is built in one statement, so one of them tells what they all were built from.
    select
        symbol_sessions.symbol,
        symbol_sessions.session_date,
        symbol_sessions.source,
        symbol_sessions.tape_at,
        symbol_sessions.built_from
    from symbol_sessions
    {% if is_incremental() %}
        left join lateral (
            select built_bars.built_from
            from built_bars
            where
                built_bars.symbol = symbol_sessions.symbol
                and built_bars.session_date = symbol_sessions.session_date
            limit 1
        ) as built on true
        where built.built_from is distinct from symbol_sessions.built_from
    {% endif %}

),

minutes as (

    select * from {{ ref('int_bars_1m_buckets') }}

),

bars as (

    select
        changed_sessions.symbol,
        minutes.interval,
        minutes.bucket_at as bar_at,
        {{ longer_bar('minutes') }},
        changed_sessions.session_date,
        minutes.segment,
        changed_sessions.tape_at >= minutes.segment_ends_at as is_final,
        changed_sessions.source as origin,
        changed_sessions.built_from
    from changed_sessions
    inner join minutes
        on changed_sessions.source = minutes.source
        and changed_sessions.symbol = minutes.symbol
        and changed_sessions.session_date = minutes.session_date
    where minutes.interval <> '1d'
    group by
        changed_sessions.symbol,
        changed_sessions.session_date,
        changed_sessions.source,
        changed_sessions.tape_at,
        changed_sessions.built_from,
        minutes.interval,
        minutes.bucket_at,
        minutes.segment,
        minutes.segment_ends_at

),

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
        {{ vwap('notional', 'volume') }} as vwap,
        trade_count,
        session_date,
        segment,
        is_final,
        revision,
        origin,
        revised_at,
        built_from
    from bars

)

select * from final
