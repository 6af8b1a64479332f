{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['symbol', 'session_date'],
        on_schema_change='append_new_columns',
        indexes=[
            {'columns': ['symbol', 'interval', 'bar_at', 'other_origin', 'is_other_vendor_bar'], 'unique': true},
            {'columns': ['symbol', 'session_date']},
        ],
        pre_hook=[
            "{{ begin_building() }}",
            "{{ delete_outdated_sessions(this, ref('int_compared_sessions'), logic_version(comparison_logic())) }}",
            "set local enable_nestloop = off",
        ],
        post_hook="{{ watch_changes(this) }}",
    )
}}

with

compared_sessions as (

    select
        symbol,
        session_date,
        has_intraday_bars,
        has_daily_bars,
        md5(concat_ws('/', fingerprint, {{ logic_version(comparison_logic()) }}))::uuid as built_from
    from {{ ref('int_compared_sessions') }}

),

outdated_sessions as (

    -- What is there was built from what there is: the rest was deleted right before.
    select
        compared_sessions.symbol,
        compared_sessions.session_date,
        compared_sessions.has_intraday_bars,
        compared_sessions.has_daily_bars,
        compared_sessions.built_from
    from compared_sessions
    {% if is_incremental() %}
        where not exists (
            select from {{ this }} as built
            where
                built.symbol = compared_sessions.symbol
                and built.session_date = compared_sessions.session_date
        )
    {% endif %}

),

intraday_sessions as (

    select * from {{ ref('int_intraday_sessions') }}

),

symbol_sessions as (

    select * from {{ ref('int_symbol_sessions') }}

),

daily_sessions as (

    select * from {{ ref('int_daily_sessions') }}

),

changed_sessions as (

    select
        intraday_sessions.symbol,
        intraday_sessions.session_date,
        intraday_sessions.own_source,
        intraday_sessions.tape_at,
        intraday_sessions.has_whole_pre,
        intraday_sessions.has_whole_regular,
        intraday_sessions.has_whole_post,
        intraday_sessions.is_last_resort,
        null::timestamp with time zone as from_at,
        outdated_sessions.built_from
    from outdated_sessions
    inner join intraday_sessions
        on outdated_sessions.symbol = intraday_sessions.symbol
        and outdated_sessions.session_date = intraday_sessions.session_date
    where outdated_sessions.has_intraday_bars

),

{{ intraday_bars() }},

own_days as (

    select
        outdated_sessions.symbol,
        outdated_sessions.session_date,
        symbol_sessions.source,
        {{ longer_bar('minutes') }}
    from outdated_sessions
    inner join symbol_sessions
        on outdated_sessions.symbol = symbol_sessions.symbol
        and outdated_sessions.session_date = symbol_sessions.session_date
    inner join minutes
        on symbol_sessions.source = minutes.source
        and symbol_sessions.symbol = minutes.symbol
        and symbol_sessions.session_date = minutes.session_date
        and minutes.interval = '1d'
    where outdated_sessions.has_daily_bars
    group by outdated_sessions.symbol, outdated_sessions.session_date, symbol_sessions.source

),

vendor_days as (

    -- Of several daily bars of one source the last, as in historical_ohlcv.
    select
        stored_vendor_bars.symbol,
        stored_vendor_bars.session_date,
        stored_vendor_bars.source,
        stored_vendor_bars.open,
        stored_vendor_bars.high,
        stored_vendor_bars.low,
        stored_vendor_bars.close,
        stored_vendor_bars.volume,
        stored_vendor_bars.ingested_at as revised_at,
        row_number() over (
            partition by stored_vendor_bars.symbol, stored_vendor_bars.session_date, stored_vendor_bars.source
            order by stored_vendor_bars.bar_at desc
        ) as recency
    from outdated_sessions
    inner join stored_vendor_bars
        on outdated_sessions.symbol = stored_vendor_bars.symbol
        and outdated_sessions.session_date = stored_vendor_bars.session_date
        and stored_vendor_bars.interval = '1d'
    where outdated_sessions.has_daily_bars

),

days as (

    select
        symbol,
        session_date,
        source,
        false as is_vendor_bar,
        open,
        high,
        low,
        close,
        volume,
        revised_at
    from own_days

    union all

    select
        symbol,
        session_date,
        source,
        true as is_vendor_bar,
        open,
        high,
        low,
        close,
        volume,
        revised_at
    from vendor_days
    where recency = 1

),

bars as (

    select
        symbol,
        session_date,
        segment,
        interval,
        bar_at,
        source,
        is_vendor_bar,
        is_given,
        is_shown,
        open,
        high,
        low,
        close,
        volume,
        revised_at
    from intraday_bars

    union all

    select
        days.symbol,
        days.session_date,
        'regular' as segment,
        '1d' as interval,
        daily_sessions.open_at as bar_at,
        days.source,
        days.is_vendor_bar,
        days.is_vendor_bar as is_given,
        days.source = daily_sessions.source and days.is_vendor_bar = daily_sessions.is_vendor_bar as is_shown,
        days.open,
        days.high,
        days.low,
        days.close,
        days.volume,
        days.revised_at
    from days
    inner join daily_sessions
        on days.symbol = daily_sessions.symbol
        and days.session_date = daily_sessions.session_date
    -- What is shown as a last resort only is no measure of anything, nor is anything a measure of it.
    where {{ is_last_resort('days.source') }} = {{ is_last_resort('daily_sessions.source') }}

),

compared_candidates as (

    select
        symbol,
        session_date,
        segment,
        interval,
        source,
        is_vendor_bar,
        is_shown,
        bool_or(is_given) as is_given
    from bars
    group by symbol, session_date, segment, interval, source, is_vendor_bar, is_shown

),

pairs as (

    -- At the lengths that one of both vendors gave by itself: own bars and derived ones would say the same again.
    select
        shown.symbol,
        shown.session_date,
        shown.segment,
        shown.interval,
        shown.source as origin,
        shown.is_vendor_bar,
        other.source as other_origin,
        other.is_vendor_bar as is_other_vendor_bar
    from compared_candidates as shown
    inner join compared_candidates as other
        on shown.symbol = other.symbol
        and shown.session_date = other.session_date
        and shown.segment = other.segment
        and shown.interval = other.interval
    where
        shown.is_shown
        and not other.is_shown
        and (shown.is_given or other.is_given)

),

sides as (

    select
        pairs.symbol,
        pairs.session_date,
        pairs.segment,
        pairs.interval,
        pairs.origin,
        pairs.is_vendor_bar,
        pairs.other_origin,
        pairs.is_other_vendor_bar,
        bars.is_shown,
        bars.bar_at,
        bars.open,
        bars.high,
        bars.low,
        bars.close,
        bars.volume,
        bars.revised_at
    from pairs
    inner join bars
        on pairs.symbol = bars.symbol
        and pairs.session_date = bars.session_date
        and pairs.segment = bars.segment
        and pairs.interval = bars.interval
        and (
            bars.is_shown
            or (pairs.other_origin = bars.source and pairs.is_other_vendor_bar = bars.is_vendor_bar)
        )

),

compared as (

    select
        symbol,
        session_date,
        segment,
        interval,
        bar_at,
        origin,
        is_vendor_bar,
        other_origin,
        is_other_vendor_bar,
        bool_or(is_shown) as has_shown,
        bool_or(not is_shown) as has_other,
        max(open) filter (where is_shown) as open,
        max(open) filter (where not is_shown) as other_open,
        max(high) filter (where is_shown) as high,
        max(high) filter (where not is_shown) as other_high,
        max(low) filter (where is_shown) as low,
        max(low) filter (where not is_shown) as other_low,
        max(close) filter (where is_shown) as close,
        max(close) filter (where not is_shown) as other_close,
        max(volume) filter (where is_shown) as volume,
        max(volume) filter (where not is_shown) as other_volume,
        max(revised_at) filter (where is_shown) as revised_at,
        max(revised_at) filter (where not is_shown) as other_revised_at
    from sides
    group by
        symbol,
        session_date,
        segment,
        interval,
        bar_at,
        origin,
        is_vendor_bar,
        other_origin,
        is_other_vendor_bar

),

differences as (

    select
        symbol,
        session_date,
        segment,
        interval,
        bar_at,
        origin,
        is_vendor_bar,
        other_origin,
        is_other_vendor_bar,
        has_shown,
        has_shown and has_other as has_both,
        open,
        high,
        low,
        close,
        volume,
        other_open,
        other_high,
        other_low,
        other_close,
        other_volume,
        (other_open - open)::numeric(18, 6) as open_difference,
        {{ basis_points('open', 'other_open') }} as open_difference_bps,
        (other_high - high)::numeric(18, 6) as high_difference,
        {{ basis_points('high', 'other_high') }} as high_difference_bps,
        (other_low - low)::numeric(18, 6) as low_difference,
        {{ basis_points('low', 'other_low') }} as low_difference_bps,
        (other_close - close)::numeric(18, 6) as close_difference,
        {{ basis_points('close', 'other_close') }} as close_difference_bps,
        (
            div(2000000 * other_volume::numeric + volume, 2 * nullif(volume, 0)) / 1000000
        )::numeric(38, 6) as volume_ratio,
        (
            {{ is_near('open', 'other_open', var('price_tolerance_bps'), 10000) }}
            and {{ is_near('high', 'other_high', var('price_tolerance_bps'), 10000) }}
            and {{ is_near('low', 'other_low', var('price_tolerance_bps'), 10000) }}
            and {{ is_near('close', 'other_close', var('price_tolerance_bps'), 10000) }}
        ) as are_prices_near,
        {{ is_near('volume', 'other_volume', var('volume_tolerance_percent'), 100) }} as is_volume_near,
        revised_at,
        other_revised_at
    from compared

),

final as (

    select
        differences.symbol,
        differences.interval,
        differences.bar_at,
        differences.session_date,
        differences.segment,
        differences.origin,
        differences.is_vendor_bar,
        differences.other_origin,
        differences.is_other_vendor_bar,
        case
            when differences.has_both and not differences.are_prices_near then 'prices_differ'
            when differences.has_both and not differences.is_volume_near then 'volume_differs'
            when differences.has_both then 'agrees'
            when differences.is_vendor_bar <> differences.is_other_vendor_bar
                then case when differences.has_shown = differences.is_vendor_bar then 'only_vendor' else 'only_own' end
            when differences.has_shown then 'only_shown'
            else 'only_other'
        end as agreement,
        differences.open,
        differences.high,
        differences.low,
        differences.close,
        differences.volume,
        differences.other_open,
        differences.other_high,
        differences.other_low,
        differences.other_close,
        differences.other_volume,
        differences.open_difference,
        differences.high_difference,
        differences.low_difference,
        differences.close_difference,
        differences.open_difference_bps,
        differences.high_difference_bps,
        differences.low_difference_bps,
        differences.close_difference_bps,
        differences.volume_ratio,
        differences.revised_at,
        differences.other_revised_at,
        outdated_sessions.built_from
    from differences
    inner join outdated_sessions
        on differences.symbol = outdated_sessions.symbol
        and differences.session_date = outdated_sessions.session_date

)

select * from final
