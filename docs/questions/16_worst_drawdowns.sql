-- How deep did AAPL fall from its highest close so far, at worst, and when?
with
closes as (
    select
        session_date,
        split_adjusted_close as close,
        max(split_adjusted_close) over (order by session_date) as peak
    from marts.historical_ohlcv
    where symbol = 'AAPL'
)

select
    session_date,
    close,
    peak,
    round(100 * (close / peak - 1), 2) as drawdown_pct
from closes
order by close / peak, session_date
limit 1;
