-- In how many five minutes of a session did SPY close above its volume-weighted average price so far?
with
bars as (
    select
        session_date,
        bar_at,
        close,
        sum(vwap * volume) over so_far / nullif(sum(volume) over so_far, 0) as session_vwap
    from marts.intraday_ohlcv
    where
        symbol = 'SPY'
        and session_date between '2013-10-07' and '2013-10-08'
        and interval = '5m'
        and segment = 'regular'
    window so_far as (partition by session_date order by bar_at)
)

select
    session_date,
    count(*) as bars,
    count(*) filter (where close > session_vwap) as above_vwap,
    round((array_agg(session_vwap order by bar_at desc))[1], 4) as vwap_of_session
from bars
group by session_date
order by session_date;
