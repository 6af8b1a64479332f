-- Which closes of AAPL did one see on the day before its split of 2005-02-28, and which does one see now?
select
    now_known.session_date,
    now_known.close as as_traded,
    known_then.split_adjusted_close as as_seen_then,
    now_known.split_adjusted_close as as_seen_now
from marts.historical_ohlcv_as_known('2005-02-27', array['AAPL']) as known_then
inner join marts.historical_ohlcv as now_known
    on known_then.symbol = now_known.symbol
    and known_then.session_date = now_known.session_date
where
    known_then.session_date >= '2005-02-22'
order by now_known.session_date;
