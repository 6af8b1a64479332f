{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['symbol', 'session_date'],
        on_schema_change='append_new_columns',
        indexes=[
            {'columns': ['symbol', 'session_date'], 'unique': true},
            {'columns': ['session_date']},
        ],
        pre_hook="{{ begin_building() }}",
        post_hook=["{{ delete_sessions_without_daily_bar(this) }}", "{{ watch_changes(this) }}"],
    )
}}

with

daily_sessions as (

    select
        symbol,
        session_date,
        source,
        is_vendor_bar,
        tape_at,
        open_at,
        md5(concat_ws('/', fingerprint, {{ logic_version() }}))::uuid as built_from
    from {{ ref('int_daily_sessions') }}

),

changed_sessions as (

    select
        daily_sessions.symbol,
        daily_sessions.session_date,
        daily_sessions.source,
        daily_sessions.is_vendor_bar,
        daily_sessions.tape_at,
        daily_sessions.open_at,
        daily_sessions.built_from
    from daily_sessions
    {% if is_incremental() %}
        left join {{ this }} as built
            on daily_sessions.symbol = built.symbol
            and daily_sessions.session_date = built.session_date
        where built.built_from is distinct from daily_sessions.built_from
    {% endif %}

),

vendor_bars as (

    select * from {{ ref('int_vendor_daily_bars') }}

),

minutes as (

    select * from {{ ref('int_bars_1m_buckets') }}

),

bars_of_vendors as (

    select
        changed_sessions.symbol,
        changed_sessions.session_date,
        changed_sessions.open_at as bar_at,
        vendor_bars.open,
        vendor_bars.high,
        vendor_bars.low,
        vendor_bars.close,
        vendor_bars.volume,
        null::numeric(18, 6) as vwap,
        null::bigint as trade_count,
        vendor_bars.revision::bigint as revision,
        vendor_bars.ingested_at as revised_at,
        true as is_final,
        changed_sessions.source as origin,
        changed_sessions.is_vendor_bar,
        changed_sessions.built_from
    from changed_sessions
    inner join vendor_bars
        on changed_sessions.symbol = vendor_bars.symbol
        and changed_sessions.session_date = vendor_bars.session_date
    where changed_sessions.is_vendor_bar

),

bars_of_minutes as (

    -- A session without a regular minute gives a row without volume: it replaces what was built, and then is deleted.
    select
        changed_sessions.symbol,
        changed_sessions.session_date,
        changed_sessions.open_at as bar_at,
        {{ longer_bar('minutes') }},
        coalesce(bool_or(changed_sessions.tape_at >= minutes.segment_ends_at), false) as is_final,
        changed_sessions.source as origin,
        changed_sessions.is_vendor_bar,
        changed_sessions.built_from
    from changed_sessions
    left join minutes
        on changed_sessions.source = minutes.source
        and changed_sessions.symbol = minutes.symbol
        and changed_sessions.session_date = minutes.session_date
        and minutes.interval = '1d'
    where not changed_sessions.is_vendor_bar
    group by
        changed_sessions.symbol,
        changed_sessions.session_date,
        changed_sessions.open_at,
        changed_sessions.source,
        changed_sessions.is_vendor_bar,
        changed_sessions.built_from

),

bars as (

    select
        symbol,
        session_date,
        bar_at,
        open,
        high,
        low,
        close,
        volume,
        vwap,
        trade_count,
        revision,
        revised_at,
        is_final,
        origin,
        is_vendor_bar,
        built_from
    from bars_of_vendors

    union all

    select
        symbol,
        session_date,
        bar_at,
        open,
        high,
        low,
        close,
        volume,
        {{ vwap('notional', 'volume') }} as vwap,
        trade_count,
        revision,
        revised_at,
        is_final,
        origin,
        is_vendor_bar,
        built_from
    from bars_of_minutes

),

final as (

    select
        symbol,
        '1d' as interval,
        bar_at,
        open,
        high,
        low,
        close,
        volume,
        vwap,
        trade_count,
        session_date,
        'regular' as segment,
        is_final,
        revision,
        origin,
        is_vendor_bar,
        revised_at,
        built_from
    from bars

)

select * from final
