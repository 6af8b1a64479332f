{{ config(materialized='view') }}

with

symbol_sessions as (

    select
        symbol,
        session_date,
        source,
        tape_at,
        row_number() over (partition by symbol order by session_date desc) as recency
    from {{ ref('int_symbol_sessions') }}

),

latest_sessions as (

    select
        symbol,
        session_date,
        source,
        tape_at
    from symbol_sessions
    where recency = 1

),

sessions as (

    select
        session_date,
        close_at,
        lag(session_date) over (order by session_date) as previous_session_date
    from {{ ref('stg_sessions') }}

),

bars as (

    select * from {{ ref('stg_bars_1m') }}

),

latest_quotes as (

    select * from {{ ref('stg_latest_quotes') }}

),

historical_ohlcv as (

    select * from {{ ref('historical_ohlcv') }}

),

session_prices as (

    select
        latest_sessions.symbol,
        latest_sessions.session_date,
        latest_sessions.source,
        latest_sessions.tape_at,
        (array_agg(bars.close order by bars.bar_at desc) filter (where bars.close is not null))[1] as price,
        max(bars.bar_at) filter (where bars.close is not null) as price_at,
        (array_agg(bars.segment order by bars.bar_at desc) filter (where bars.close is not null))[1] as segment,
        (
            array_agg(bars.open order by bars.bar_at)
            filter (where bars.segment = 'regular' and bars.open is not null)
        )[1] as open,
        max(bars.high) filter (where bars.segment = 'regular') as high,
        min(bars.low) filter (where bars.segment = 'regular') as low,
        (
            array_agg(bars.close order by bars.bar_at desc)
            filter (where bars.segment = 'regular' and bars.close is not null)
        )[1] as close,
        coalesce(sum(bars.volume) filter (where bars.segment = 'regular'), 0)::bigint as volume,
        sum(bars.notional) filter (where bars.segment = 'regular') as notional,
        coalesce(sum(bars.trade_count) filter (where bars.segment = 'regular'), 0)::bigint as trade_count,
        max(bars.revised_at) as revised_at
    from latest_sessions
    inner join bars
        on latest_sessions.source = bars.source
        and latest_sessions.symbol = bars.symbol
        and latest_sessions.session_date = bars.session_date
    group by
        latest_sessions.symbol,
        latest_sessions.session_date,
        latest_sessions.source,
        latest_sessions.tape_at

),

final as (

    select
        session_prices.symbol,
        session_prices.price::numeric(18, 6) as price,
        session_prices.price_at,
        session_prices.segment,
        session_prices.session_date,
        session_prices.open::numeric(18, 6) as open,
        session_prices.high::numeric(18, 6) as high,
        session_prices.low::numeric(18, 6) as low,
        session_prices.close::numeric(18, 6) as close,
        session_prices.volume,
        {{ vwap('session_prices.notional', 'session_prices.volume') }} as vwap,
        session_prices.trade_count,
        sessions.previous_session_date,
        historical_ohlcv.close as previous_close,
        (session_prices.price - historical_ohlcv.close)::numeric(18, 6) as change,
        round(
            100 * (session_prices.price - historical_ohlcv.close) / nullif(historical_ohlcv.close, 0),
            6
        )::double precision as change_pct,
        latest_quotes.bid,
        latest_quotes.bid_size,
        latest_quotes.bid_at,
        latest_quotes.ask,
        latest_quotes.ask_size,
        latest_quotes.ask_at,
        session_prices.tape_at >= sessions.close_at as is_final,
        session_prices.source as origin,
        session_prices.revised_at,
        greatest(
            0,
            floor(extract(epoch from now() - session_prices.price_at - interval '1 minute'))
        )::bigint as staleness_seconds
    from session_prices
    inner join sessions
        on session_prices.session_date = sessions.session_date
    left join historical_ohlcv
        on session_prices.symbol = historical_ohlcv.symbol
        and sessions.previous_session_date = historical_ohlcv.session_date
    left join latest_quotes
        on session_prices.source = latest_quotes.source
        and session_prices.symbol = latest_quotes.symbol

)

select * from final
