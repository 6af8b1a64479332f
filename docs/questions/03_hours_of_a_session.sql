-- How did the hours of SPY's session of 2013-10-07 go?
select
    to_char(bar_at at time zone 'America/New_York', 'HH24:MI') as new_york,
    open,
    high,
    low,
    close,
    volume,
    vwap
from marts.intraday_ohlcv
where
    symbol = 'SPY'
    and session_date = '2013-10-07'
    and interval = '1h'
    and segment = 'regular'
order by bar_at;
