-- On which days did GOOG open furthest from the close before?
with
days as (
    select
        session_date,
        open,
        lag(close) over (order by session_date) as close_before
    from marts.historical_ohlcv
    where symbol = 'GOOG'
)

select
    session_date,
    close_before,
    open,
    round(100 * (open / close_before - 1), 2) as gap_pct
from days
where close_before is not null
order by abs(open / close_before - 1) desc, session_date
limit 5;
