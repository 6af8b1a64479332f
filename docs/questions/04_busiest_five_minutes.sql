-- In which five minutes of the session of 2013-10-07 was most traded, in dollars, whatever the symbol?
select
    symbol,
    to_char(bar_at at time zone 'America/New_York', 'HH24:MI') as new_york,
    volume,
    round(close * volume / 1000000, 1) as about_million_dollars
from marts.intraday_ohlcv
where
    session_date = '2013-10-07'
    and interval = '5m'
    and segment = 'regular'
order by close * volume desc, symbol
limit 5;
