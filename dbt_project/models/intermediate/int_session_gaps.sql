{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['source', 'symbol', 'session_date'],
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['source', 'symbol', 'session_date'], 'unique': true}],
        pre_hook="{{ begin_building() }}",
        post_hook=["{{ delete_unexpected_sessions(this) }}", "{{ watch_changes(this) }}"],
    )
}}

with

expected_sessions as (

    select
        source,
        symbol,
        session_date,
        open_at,
        ends_at,
        covered,
        halted,
        md5(concat_ws('/', fingerprint, {{ logic_version() }}))::uuid as built_from
    from {{ ref('int_expected_sessions') }}

),

changed_sessions as (

    select
        expected_sessions.source,
        expected_sessions.symbol,
        expected_sessions.session_date,
        expected_sessions.open_at,
        expected_sessions.ends_at,
        expected_sessions.covered,
        expected_sessions.halted,
        expected_sessions.built_from
    from expected_sessions
    {% if is_incremental() %}
        left join {{ this }} as built
            on expected_sessions.source = built.source
            and expected_sessions.symbol = built.symbol
            and expected_sessions.session_date = built.session_date
        where built.built_from is distinct from expected_sessions.built_from
    {% endif %}

),

bars as (

    select
        source,
        symbol,
        session_date,
        bar_at,
        revision,
        trade_count,
        cancelled_trade_count,
        corrected_trade_count
    from {{ ref('stg_bars_1m') }}
    where segment = 'regular'

),

stream_batches as (

    -- Those of the trades' topic, which come one after the other: what is seen of one is seen of all before it.
    select max(ingested_at) as known_through_at
    from {{ source('lake', 'stream_batches') }}
    where trades + amendments + statuses > 0

),

session_bars as (

    select
        changed_sessions.source,
        changed_sessions.symbol,
        changed_sessions.session_date,
        range_agg(tstzrange(bars.bar_at, bars.bar_at + interval '1 minute')) as there,
        count(*) as bar_count,
        count(*) filter (where bars.trade_count = 0) as untraded_bars,
        count(*) filter (where bars.revision > 1) as revised_bars,
        sum(bars.revision - 1) as revisions,
        sum(bars.cancelled_trade_count) as cancelled_trades,
        sum(bars.corrected_trade_count) as corrected_trades
    from changed_sessions
    inner join bars
        on changed_sessions.source = bars.source
        and changed_sessions.symbol = bars.symbol
        and changed_sessions.session_date = bars.session_date
    where bars.bar_at < changed_sessions.ends_at
    group by
        changed_sessions.source,
        changed_sessions.symbol,
        changed_sessions.session_date

),

minutes as (

    select
        changed_sessions.source,
        changed_sessions.symbol,
        changed_sessions.session_date,
        changed_sessions.built_from,
        changed_sessions.covered = '{}' as is_not_collected,
        (extract(epoch from changed_sessions.ends_at - changed_sessions.open_at) / 60)::bigint as expected_bars,
        coalesce(session_bars.bar_count, 0) as bar_count,
        coalesce(session_bars.untraded_bars, 0) as untraded_bars,
        coalesce(session_bars.revised_bars, 0) as revised_bars,
        coalesce(session_bars.revisions, 0)::bigint as revisions,
        coalesce(session_bars.cancelled_trades, 0)::bigint as cancelled_trades,
        coalesce(session_bars.corrected_trades, 0)::bigint as corrected_trades,
        tstzmultirange(tstzrange(changed_sessions.open_at, changed_sessions.ends_at))
        - coalesce(session_bars.there, '{}') as missing,
        {{ whole_minutes('changed_sessions.covered') }} as covered,
        {{ whole_minutes('changed_sessions.halted', touched=true) }} as halted
    from changed_sessions
    left join session_bars
        on changed_sessions.source = session_bars.source
        and changed_sessions.symbol = session_bars.symbol
        and changed_sessions.session_date = session_bars.session_date

),

explained as (

    select
        minutes.source,
        minutes.symbol,
        minutes.session_date,
        minutes.expected_bars,
        minutes.bar_count,
        minutes.untraded_bars,
        minutes.missing * minutes.covered - minutes.halted as no_trade,
        minutes.missing * minutes.covered * minutes.halted as halted,
        case when minutes.is_not_collected then '{}' else minutes.missing - minutes.covered end as feed_down,
        case when minutes.is_not_collected then minutes.missing else '{}' end as not_collected,
        minutes.revised_bars,
        minutes.revisions,
        minutes.cancelled_trades,
        minutes.corrected_trades,
        minutes.built_from
    from minutes

),

final as (

    select
        explained.source,
        explained.symbol,
        explained.session_date,
        explained.expected_bars,
        explained.bar_count,
        explained.untraded_bars,
        explained.no_trade,
        explained.halted,
        explained.feed_down,
        explained.not_collected,
        {%- for reason in ['no_trade', 'halted', 'feed_down', 'not_collected'] %}
            {{ count_of_minutes('explained.' ~ reason) }} as {{ reason }}_bars,
        {%- endfor %}
        explained.revised_bars,
        explained.revisions,
        explained.cancelled_trades,
        explained.corrected_trades,
        stream_batches.known_through_at,
        explained.built_from
    from explained
    cross join stream_batches

)

select * from final
