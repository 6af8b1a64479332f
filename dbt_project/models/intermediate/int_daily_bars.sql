{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        indexes=[
            {'columns': ['symbol', 'session_date'], 'unique': true},
            {'columns': ['session_date']},
        ],
        pre_hook=["{{ begin_building() }}", "{{ begin_daily_bars(this, ref('int_daily_sessions'), logic_version(), 'historical_ohlcv') }}"],
        post_hook=["{{ delete_empty_days(this) }}", "{{ watch_changes(this) }}"],
    )
}}

with

{% if is_incremental() %}
    changed_sessions as (

        -- begin_daily_bars has filled it.
        select * from changed_days
        where source is not null

    ),

    vendor_bars as (

        {{ vendor_daily_bars('changed_days') }}

    ),
{% else %}
    changed_sessions as (

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

    vendor_bars as (

        select * from {{ ref('int_vendor_daily_bars') }}

    ),
{% endif %}
minutes as not materialized (

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

    -- A session without a regular minute gives a row without volume, which is deleted afterwards.
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
    left join lateral (
        -- Session by session, by an index.
        select own_minutes.*
        from minutes as own_minutes
        where
            own_minutes.source = changed_sessions.source
            and own_minutes.symbol = changed_sessions.symbol
            and own_minutes.session_date = changed_sessions.session_date
            and own_minutes.interval = '1d'
        offset 0
    ) as minutes on true
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
