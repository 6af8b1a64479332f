-- Where did each symbol stand in its range of 52 weeks on 2013-03-01?
select
    symbol,
    min(split_adjusted_low) as lowest,
    max(split_adjusted_high) as highest,
    max(split_adjusted_close) filter (where session_date = '2013-03-01') as close,
    round(
        100 * (max(split_adjusted_close) filter (where session_date = '2013-03-01') - min(split_adjusted_low))
        / nullif(max(split_adjusted_high) - min(split_adjusted_low), 0),
        1
    ) as percent_of_range
from marts.historical_ohlcv
where
    session_date > date '2013-03-01' - 364
    and session_date <= '2013-03-01'
group by symbol
having max(session_date) = '2013-03-01'
order by percent_of_range desc, symbol asc;
