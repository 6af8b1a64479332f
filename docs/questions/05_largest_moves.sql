-- When did IBM move most from one five minutes to the next in the session of 2013-10-07?
with
moves as (
    select
        bar_at,
        close,
        100 * (close / lag(close) over (order by bar_at) - 1) as change_pct
    from marts.intraday_ohlcv
    where
        symbol = 'IBM'
        and session_date = '2013-10-07'
        and interval = '5m'
        and segment = 'regular'
)

select
    to_char(bar_at at time zone 'America/New_York', 'HH24:MI') as new_york,
    close,
    round(change_pct, 3) as change_pct
from moves
where change_pct is not null
order by abs(change_pct) desc, bar_at
limit 5;
