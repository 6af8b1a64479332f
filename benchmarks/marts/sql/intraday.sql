-- A walk of one symbol in steps, as bars of the lengths asked for.
insert into marts.intraday_ohlcv (
    symbol, interval, bar_at, open, high, low, close, volume, vwap, trade_count, session_date, segment,
    is_final, revision, origin, is_vendor_bar, revised_at, built_from
)
with
walk as materialized (
    select
        session_date, open_at, bar_at, (1000 + random() * 100000)::bigint as volume,
        100 * exp(sum(random_normal(0, 0.001)) over (order by bar_at)) as close
    from lake.sessions
    cross join lateral generate_series(open_at, close_at - %(step)s::interval, %(step)s::interval) as bar_at
    where session_date between %(first)s and %(last)s
),
steps as materialized (
    select session_date, open_at, bar_at, volume, close, coalesce(lag(close) over (order by bar_at), close) as open
    from walk
)
select
    %(symbol)s, length, date_bin(length::interval, bar_at, open_at) as starts_at,
    (array_agg(open order by bar_at))[1], max(greatest(open, close)), min(least(open, close)),
    (array_agg(close order by bar_at desc))[1],
    sum(volume), sum(close * volume) / sum(volume), count(*), session_date, 'regular',
    true, 1, 'made-up', true, now(), gen_random_uuid()
from steps
cross join unnest(%(lengths)s::text[]) as length
group by session_date, length, starts_at
order by session_date, length, starts_at
