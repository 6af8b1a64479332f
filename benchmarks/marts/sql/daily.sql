-- A walk of one symbol by days, adjusted for nothing.
insert into marts.historical_ohlcv (
    symbol, interval, bar_at, open, high, low, close, volume, vwap, trade_count, session_date, segment,
    is_final, revision, origin, is_vendor_bar, revised_at, built_from,
    current_symbol, split_factor, total_return_factor,
    split_adjusted_open, split_adjusted_high, split_adjusted_low, split_adjusted_close, split_adjusted_volume,
    total_return_open, total_return_high, total_return_low, total_return_close
)
with
walk as materialized (
    select
        session_date, open_at, (100000 + random() * 1000000)::bigint as volume,
        100 * exp(sum(random_normal(0, 0.015)) over (order by session_date)) as close
    from lake.sessions
    where session_date between %(first)s and %(last)s
),
days as (
    select
        session_date, open_at, volume, close,
        coalesce(lag(close) over (order by session_date), close) as open
    from walk
),
bars as (
    select session_date, open_at, volume, close, open, greatest(open, close) as high, least(open, close) as low
    from days
)
select
    %(symbol)s, '1d', open_at, open, high, low, close, volume, null, null, session_date, 'regular',
    true, 1, 'made-up', true, now(), gen_random_uuid(),
    %(symbol)s, 1, 1, open, high, low, close, volume, open, high, low, close
from bars
order by session_date
