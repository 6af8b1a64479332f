-- What does it cost to cross the spread?
select
    symbol,
    bid,
    ask,
    ask - bid as spread,
    round(10000 * (ask - bid) / ((ask + bid) / 2), 3) as spread_bps
from marts.realtime_prices
where bid > 0 and ask > 0
order by symbol;
