-- Is everything there: how many regular minutes have a bar, and why do the others have none?
with gaps as (
    select
        symbol,
        session_date,
        sum(missing_bars)::bigint as missing_minutes,
        string_agg(distinct reason, ', ' order by reason) as reasons
    from marts.bar_gaps
    where
        symbol in ('IBM', 'SPY')
        and session_date between '2013-10-07' and '2013-10-08'
    group by symbol, session_date
)

select
    bars.symbol,
    bars.session_date,
    bars.minutes_with_bar,
    coalesce(gaps.missing_minutes, 0) as missing_minutes,
    coalesce(gaps.reasons, '') as reasons
from (
    select
        symbol,
        session_date,
        count(*) as minutes_with_bar
    from marts.intraday_ohlcv
    where
        symbol in ('IBM', 'SPY')
        and session_date between '2013-10-07' and '2013-10-08'
        and interval = '1m'
        and segment = 'regular'
    group by symbol, session_date
) as bars
left join gaps
    on bars.symbol = gaps.symbol
    and bars.session_date = gaps.session_date
order by bars.symbol, bars.session_date;
