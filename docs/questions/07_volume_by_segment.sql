-- Which part of the volume of 2013-10-07 was traded before the open, in regular hours and after the close?
select
    symbol,
    segment,
    sum(volume)::bigint as volume,
    round(100 * sum(volume) / sum(sum(volume)) over (partition by symbol), 2) as percent_of_day
from marts.intraday_ohlcv
where
    symbol in ('IBM', 'SPY')
    and session_date = '2013-10-07'
    and interval = '1h'
group by symbol, segment
order by symbol, min(bar_at);
