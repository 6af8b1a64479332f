{{ config(materialized='view') }}

with

session_gaps as (

    select
        symbol,
        session_date,
        source,
        expected_bars,
        bar_count - untraded_bars as present_bars,
        no_trade_bars + untraded_bars as no_trade_bars,
        halted_bars,
        feed_down_bars,
        not_collected_bars,
        revised_bars,
        revisions,
        cancelled_trades,
        corrected_trades,
        count(*) over (partition by symbol, session_date) as feeds
    from {{ ref('int_session_gaps') }}

),

own_sources as (

    {{ own_sources() }}

),

preferred as (

    select
        session_gaps.*,
        row_number() over (
            partition by session_gaps.symbol, session_gaps.session_date
            order by own_sources.source is null, {{ source_rank('session_gaps.source') }}, session_gaps.source
        ) as preference
    from session_gaps
    left join own_sources
        on session_gaps.symbol = own_sources.symbol
        and session_gaps.session_date = own_sources.session_date
        and session_gaps.source = own_sources.source

),

bar_reconciliation as (

    select
        symbol,
        session_date,
        agreement
    from {{ ref('bar_reconciliation') }}

),

agreements as (

    select
        symbol,
        session_date,
        count(*) as compared_bars,
        count(*) filter (where agreement = 'prices_differ') as prices_differ_bars,
        count(*) filter (where agreement = 'volume_differs') as volume_differs_bars,
        count(*) filter (where agreement not in ('agrees', 'prices_differ', 'volume_differs')) as one_sided_bars
    from bar_reconciliation
    group by symbol, session_date

),

session_arrivals as (

    select
        source,
        symbol,
        session_date,
        late_trades,
        rejected_messages
    from {{ ref('stg_session_arrivals') }}

),

final as (

    select
        session_gaps.symbol,
        session_gaps.session_date,
        session_gaps.source as origin,
        session_gaps.feeds,
        session_gaps.expected_bars as expected_minutes,
        session_gaps.present_bars as present_minutes,
        session_gaps.present_bars::double precision / nullif(session_gaps.expected_bars, 0) as coverage,
        session_gaps.no_trade_bars as no_trade_minutes,
        session_gaps.halted_bars as halted_minutes,
        session_gaps.feed_down_bars as feed_down_minutes,
        session_gaps.not_collected_bars as not_collected_minutes,
        session_gaps.revised_bars,
        session_gaps.revisions,
        session_gaps.cancelled_trades,
        session_gaps.corrected_trades,
        session_arrivals.late_trades,
        session_arrivals.rejected_messages,
        coalesce(agreements.compared_bars, 0) as compared_bars,
        coalesce(agreements.prices_differ_bars, 0) as prices_differ_bars,
        coalesce(agreements.volume_differs_bars, 0) as volume_differs_bars,
        coalesce(agreements.one_sided_bars, 0) as one_sided_bars,
        {{ is_last_resort('session_gaps.source') }} as is_simulated
    from preferred as session_gaps
    left join agreements
        on session_gaps.symbol = agreements.symbol
        and session_gaps.session_date = agreements.session_date
    left join session_arrivals
        on session_gaps.source = session_arrivals.source
        and session_gaps.symbol = session_arrivals.symbol
        and session_gaps.session_date = session_arrivals.session_date
    where session_gaps.preference = 1

)

select * from final
