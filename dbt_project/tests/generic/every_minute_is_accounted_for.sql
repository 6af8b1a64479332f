{#- Fails for every session whose expected minutes are not its bars and the minutes of its gaps, each of one reason. -#}
{% test every_minute_is_accounted_for(model) %}
select
    sessions.source,
    sessions.symbol,
    sessions.session_date,
    sessions.expected_bars,
    sessions.bar_count,
    coalesce(sum(extract(epoch from upper(span) - lower(span)) / 60), 0) as missing_bars
from {{ model }} as sessions
left join lateral (
    select unnest(no_trade) as span
    union all
    select unnest(halted) as span
    union all
    select unnest(feed_down) as span
    union all
    select unnest(not_collected) as span
) as gaps on true
group by sessions.source, sessions.symbol, sessions.session_date, sessions.expected_bars, sessions.bar_count
having sessions.expected_bars <> sessions.bar_count + coalesce(sum(extract(epoch from upper(span) - lower(span)) / 60), 0)
{% endtest %}
