-- How closely did IBM follow SPY from five minutes to five minutes?
with
returns as (
    select
        symbol,
        session_date,
        bar_at,
        close / lag(close) over (partition by symbol, session_date order by bar_at) - 1 as change
    from marts.intraday_ohlcv
    where
        symbol in ('IBM', 'SPY')
        and session_date between '2013-10-07' and '2013-10-08'
        and interval = '5m'
        and segment = 'regular'
)

select
    ibm.session_date,
    count(*) as pairs,
    round(corr(ibm.change, spy.change)::numeric, 3) as correlation,
    round(regr_slope(ibm.change, spy.change)::numeric, 3) as beta
from returns as ibm
inner join returns as spy
    on ibm.bar_at = spy.bar_at
where
    ibm.symbol = 'IBM'
    and spy.symbol = 'SPY'
    and ibm.change is not null
    and spy.change is not null
group by ibm.session_date
order by ibm.session_date;
