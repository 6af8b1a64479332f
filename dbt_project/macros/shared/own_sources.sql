{#-
  The feed of each symbol and session whose minutes are taken: the first by source_priority; among those of one rank, which are the
  ones that it does not name, the first by name that has not markedly fewer minutes of the session than another of them: one that
  stopped must not hide one that went on. From the open on, once one of them has any: what came before it would hide the whole
  morning. By minutes, too: of two that go on, one is a minute ahead now and then. `touched` is a relation as in intraday_sessions.
-#}
{% macro own_sources(touched=none) -%}
select distinct on (symbol, session_date)
        symbol,
        session_date,
        source,
        change_number
    from (
        select
            *,
            max(minute_count) over (partition by symbol, session_date, source_rank) as most_minutes
        from (
            select
                *,
                case
                    when max(count_from_open) over (partition by symbol, session_date, source_rank) > 0 then count_from_open
                    else bar_count
                end as minute_count
            from (
                select
                    *,
                    -- Looked at only where there is a choice: the bars themselves are many.
                    case
                        when count(*) over (partition by symbol, session_date, source_rank) > 1
                            then (
                                select count(*)
                                from {{ ref('stg_bars_1m') }} as bars
                                where bars.source = sessions.source
                                    and bars.symbol = sessions.symbol
                                    and bars.session_date = sessions.session_date
                                    and bars.bar_at >= sessions.session_date::timestamp at time zone 'UTC'
                                    and bars.bar_at < sessions.session_date::timestamp at time zone 'UTC' + interval '2 days'
                                    and bars.segment <> 'pre'
                            )
                    end as count_from_open
                from (
                    select
                        symbol,
                        session_date,
                        source,
                        change_number,
                        bar_count,
                        {{ source_rank('source') }} as source_rank
                    from {{ ref('stg_bar_sessions') }}
                    where
                        bar_count > 0
                        {{ and_touched(touched) }}
                ) as sessions
            ) as contested
        ) as counted
    ) as ranked
    order by
        symbol,
        session_date,
        source_rank,
        minute_count * 100 < most_minutes * {{ var('vendor_completeness_percent') }}
        and minute_count + {{ var('feed_margin_minutes') }} <= most_minutes,
        source
{%- endmacro %}
