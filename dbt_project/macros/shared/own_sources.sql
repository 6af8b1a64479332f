{#-
  The feed of each symbol and session whose minutes are taken: the first by source_priority; among those of one rank, which are the
  ones that it does not name, the first by name that has not markedly fewer minutes of the session than another of them: one that
  stopped must not hide one that went on. From the open on, once one of them has any: what came before it would hide the whole
  morning. By minutes, too: of two that go on, one is a minute ahead now and then. A minute without a price, as one whose trades
  were all cancelled, is none that a feed has: a feed that has no other comes behind all that have one, whatever its rank, but before
  what is made up. `touched` is a relation as in intraday_sessions.
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
                    else bar_count - count_without_price
                end as minute_count
            from (
                -- Bars are looked at only where there is a choice: they are many. Where no rank is shared one with a price is enough.
                select
                    sessions.*,
                    counted.count_from_open,
                    counted.count_without_price,
                    sessions.has_others
                    and not exists (
                        select
                        from {{ ref('stg_bars_1m') }} as bars
                        where bars.source = sessions.source
                            and bars.symbol = sessions.symbol
                            and bars.session_date = sessions.session_date
                            and {{ bars_of_session() }}
                            and bars.open is not null
                    ) as is_without_price
                from (
                    select
                        *,
                        count(*) over (partition by symbol, session_date) > 1 as has_others,
                        count(*) over (partition by symbol, session_date, source_rank) > 1 as has_equals
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
                    ) as ranked_sessions
                ) as sessions
                cross join lateral (
                    select
                        count(*) filter (where bars.open is not null and bars.segment <> 'pre') as count_from_open,
                        count(*) filter (where bars.open is null) as count_without_price
                    from {{ ref('stg_bars_1m') }} as bars
                    where sessions.has_equals
                        and bars.source = sessions.source
                        and bars.symbol = sessions.symbol
                        and bars.session_date = sessions.session_date
                        and {{ bars_of_session() }}
                ) as counted
            ) as contested
        ) as counted
    ) as ranked
    order by
        symbol,
        session_date,
        {{ is_last_resort('source') }},
        is_without_price,
        source_rank,
        minute_count * 100 < most_minutes * {{ var('vendor_completeness_percent') }}
        and minute_count + {{ var('feed_margin_minutes') }} <= most_minutes,
        source
{%- endmacro %}

{#- That bars lie in the days that a session can be in, by the index. -#}
{% macro bars_of_session() -%}
    bars.bar_at >= sessions.session_date::timestamp at time zone 'UTC'
    and bars.bar_at < sessions.session_date::timestamp at time zone 'UTC' + interval '2 days'
{%- endmacro %}
