-- Of which symbols is there daily history, from when to when, and how high did they trade?
select
    symbol,
    count(*) as sessions,
    min(session_date) as first_session,
    max(session_date) as last_session,
    max(high) as highest
from marts.historical_ohlcv
group by symbol
order by symbol;
