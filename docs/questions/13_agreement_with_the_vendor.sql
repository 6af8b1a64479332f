-- How many of our minutes are the vendor's, to the basis point, and by how much do the others differ?
select
    symbol,
    session_date,
    agreement,
    count(*) as minutes,
    max(greatest(
        abs(open_difference_bps), abs(high_difference_bps), abs(low_difference_bps), abs(close_difference_bps)
    )) as largest_difference_bps
from marts.bar_reconciliation
where
    symbol in ('IBM', 'SPY')
    and session_date between '2013-10-07' and '2013-10-08'
    and interval = '1m'
    and segment = 'regular'
group by symbol, session_date, agreement
order by symbol, session_date, agreement;
