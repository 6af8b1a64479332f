{#-
  The feed of each symbol and session whose minutes are taken: the first by source_priority; among those of one rank, which are the
  ones that it does not name, the first by name that has not markedly fewer minutes of the session than another of them: one that
  stopped must not hide one that went on. `touched` is a relation as in intraday_sessions.
-#}
{% macro own_sources(touched=none) -%}
select distinct on (symbol, session_date)
        symbol,
        session_date,
        source,
        change_number
    from (
        select
            symbol,
            session_date,
            source,
            change_number,
            bar_count,
            {{ source_rank('source') }} as source_rank,
            max(bar_count) over (partition by symbol, session_date, {{ source_rank('source') }}) as most_bars
        from {{ ref('stg_bar_sessions') }}
        where
            bar_count > 0
            {{ and_touched(touched) }}
    ) as ranked
    order by
        symbol,
        session_date,
        source_rank,
        bar_count * 100 < most_bars * {{ var('vendor_completeness_percent') }},
        source
{%- endmacro %}
