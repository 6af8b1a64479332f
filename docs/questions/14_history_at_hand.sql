-- Which daily history is there of these symbols, from when to when, and how high did they trade?
select
    symbol,
    count(*) as sessions,
    min(session_date) as first_session,
    max(session_date) as last_session,
    max(high) as highest
from marts.historical_ohlcv
where symbol in ('AAPL', 'FB', 'GOOG', 'IBM', 'MSFT', 'SPY')
group by symbol
order by symbol;
