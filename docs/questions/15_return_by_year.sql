-- What did a holder of IBM earn in each whole year from 2008 on, with and without dividends?
with
year_ends as (
    select
        date_trunc('year', session_date)::date as year,
        (array_agg(split_adjusted_close order by session_date desc))[1] as price,
        (array_agg(total_return_close order by session_date desc))[1] as total_return_price
    from marts.historical_ohlcv
    where
        symbol = 'IBM'
        and session_date between '2007-01-01' and '2012-12-31'
    group by year
),

returns as (
    select
        year,
        price / lag(price) over (order by year) - 1 as price_return,
        total_return_price / lag(total_return_price) over (order by year) - 1 as total_return
    from year_ends
)

select
    extract(year from year)::integer as year,
    round(100 * price_return, 2) as price_return_pct,
    round(100 * total_return, 2) as total_return_pct
from returns
where price_return is not null
order by year;
