-- How much of the regular volume falls into the first and the last half hour?
select
    symbol,
    session_date,
    sum(volume)::bigint as volume,
    round(100 * sum(volume) filter (where from_open < interval '30 minutes') / sum(volume), 1) as first_half_hour_pct,
    round(100 * sum(volume) filter (where to_close <= interval '30 minutes') / sum(volume), 1) as last_half_hour_pct
from (
    select
        symbol,
        session_date,
        volume,
        bar_at - min(bar_at) over session as from_open,
        max(bar_at) over session + interval '15 minutes' - bar_at as to_close
    from marts.intraday_ohlcv
    where
        symbol in ('IBM', 'SPY')
        and session_date between '2013-10-07' and '2013-10-08'
        and interval = '15m'
        and segment = 'regular'
    window session as (partition by symbol, session_date)
) as bars
group by symbol, session_date
order by symbol, session_date;
