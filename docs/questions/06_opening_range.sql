-- When did IBM's price first close beyond the range of its first half hour, in each session of October 2013?
with
bars as (
    select
        session_date,
        bar_at,
        close,
        max(high) filter (where bar_at < opens_at + interval '30 minutes') over session as range_high,
        min(low) filter (where bar_at < opens_at + interval '30 minutes') over session as range_low,
        bar_at >= opens_at + interval '30 minutes' as is_after_range
    from (
        select
            *,
            min(bar_at) over (partition by session_date) as opens_at
        from marts.intraday_ohlcv
        where
            symbol = 'IBM'
            and session_date between '2013-10-01' and '2013-10-31'
            and interval = '5m'
            and segment = 'regular'
    ) as session_bars
    window session as (partition by session_date)
)

select distinct on (session_date)
    session_date,
    range_low,
    range_high,
    to_char(bar_at at time zone 'America/New_York', 'HH24:MI') as new_york,
    close,
    case when close > range_high then 'up' else 'down' end as direction
from bars
where is_after_range and (close > range_high or close < range_low)
order by session_date, bar_at;
