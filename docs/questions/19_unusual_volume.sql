-- On which days of 2012 was more than twice as much of AAPL traded as in the twenty sessions before, on average?
with
days as (
    select
        session_date,
        split_adjusted_volume as volume,
        avg(split_adjusted_volume) over (
            order by session_date
            rows between 20 preceding and 1 preceding
        ) as usual_volume,
        100 * (split_adjusted_close / lag(split_adjusted_close) over (order by session_date) - 1) as change_pct
    from marts.historical_ohlcv
    where
        symbol = 'AAPL'
        and session_date between '2011-11-01' and '2012-12-31'
)

select
    session_date,
    volume,
    round(volume / usual_volume, 2) as times_usual,
    round(change_pct, 2) as change_pct
from days
where
    session_date >= '2012-01-01'
    and volume > 2 * usual_volume
order by volume / usual_volume desc;
