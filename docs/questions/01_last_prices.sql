-- Where do IBM and SPY stand, and how far from the close of the session before?
select
    symbol,
    price,
    price_at at time zone 'America/New_York' as price_at_new_york,
    previous_close,
    round(change_pct::numeric, 3) as change_pct,
    volume
from marts.realtime_prices
where symbol in ('IBM', 'SPY')
order by symbol;
