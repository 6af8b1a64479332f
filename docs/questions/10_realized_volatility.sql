-- How much did each session of IBM and SPY swing: realized volatility of five-minute returns, in percent a year?
with
returns as (
    select
        symbol,
        session_date,
        ln(close / lag(close) over (partition by symbol, session_date order by bar_at)) as log_return
    from marts.intraday_ohlcv
    where
        symbol in ('IBM', 'SPY')
        and session_date between '2013-10-07' and '2013-10-08'
        and interval = '5m'
        and segment = 'regular'
)

select
    symbol,
    session_date,
    round(100 * sqrt(252 * sum(log_return * log_return)), 2) as volatility_pct
from returns
group by symbol, session_date
order by symbol, session_date;
