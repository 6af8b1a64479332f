{#-
  What is known of the sessions with bars shorter than a day; see the page of int_intraday_sessions. `touched` is a relation with
  the symbols and sessions that are wanted, by default all.
-#}
{% macro intraday_sessions(touched=none) -%}
with

bar_sessions as (

    select
        source,
        symbol,
        session_date,
        revised_at
    from {{ ref('stg_bar_sessions') }}
    where
        bar_count > 0
        {{ and_touched(touched) }}

),

vendor_bar_sessions as (

    select
        source,
        symbol,
        interval,
        session_date,
        revised_at,
        change_number
    from {{ ref('stg_vendor_bar_sessions') }}
    where
        bar_count > 0
        {{ and_touched(touched) }}

),

feed_coverage as (

    select
        source,
        symbol,
        session_date,
        covered
    from {{ ref('stg_feed_coverage') }}
    where
        true
        {{ and_touched(touched) }}

),

sessions as (

    select
        session_date,
        pre_open_at,
        open_at,
        close_at,
        post_close_at
    from {{ ref('stg_sessions') }}

),

tapes as materialized (

    -- How far each source's tape is, in event time: nothing here looks at a clock. Found once, not for each session.
    select
        sources.source,
        {{ tape_at('sources.source') }} as tape_at
    from (
        select distinct source
        from bar_sessions
    ) as sources

),

newest_changes as (

    select
        symbol,
        session_date,
        max(revised_at) as revised_at
    from bar_sessions
    group by symbol, session_date

),

own_sources as (

    select
        taken.symbol,
        taken.session_date,
        taken.source,
        taken.change_number,
        {{ is_last_resort('taken.source') }} as is_last_resort
    from ({{ own_sources(touched) }}) as taken

),

vendors as (

    select
        symbol,
        session_date,
        max(revised_at) as revised_at,
        bool_and({{ is_last_resort('source') }}) as is_last_resort,
        count(distinct source) as source_count,
        count(distinct source) filter (where not {{ is_last_resort('source') }}) as regular_source_count,
        string_agg(concat_ws(':', source, interval, change_number), ',' order by source, interval) as changes
    from vendor_bar_sessions
    group by symbol, session_date

),

known_sessions as (

    select
        coalesce(own_sources.symbol, vendors.symbol) as symbol,
        coalesce(own_sources.session_date, vendors.session_date) as session_date,
        greatest(newest_changes.revised_at, vendors.revised_at) as revised_at,
        coalesce(own_sources.is_last_resort, true) and coalesce(vendors.is_last_resort, true) as is_last_resort,
        own_sources.source as own_source,
        own_sources.change_number as own_change_number,
        own_sources.is_last_resort as is_own_last_resort,
        vendors.source_count,
        vendors.regular_source_count,
        vendors.changes as vendor_changes
    from own_sources
    inner join newest_changes
        on own_sources.symbol = newest_changes.symbol
        and own_sources.session_date = newest_changes.session_date
    full outer join vendors
        on own_sources.symbol = vendors.symbol
        and own_sources.session_date = vendors.session_date

),

made_up_symbols as (

    select made_up.symbol
    from {{ made_up_symbols_of(touched) }} as made_up

),

candidates as (

    -- What is made up is never shown beside anything real of the symbol, not even in sessions of its own.
    select
        symbol,
        session_date,
        revised_at,
        is_last_resort,
        case when is_own_last_resort = is_last_resort then own_source end as own_source,
        case when is_own_last_resort = is_last_resort then own_change_number end as own_change_number,
        coalesce(case when is_last_resort then source_count else regular_source_count end, 0) as vendor_count,
        vendor_changes
    from known_sessions
    where not is_last_resort or symbol in (select made_up_symbols.symbol from made_up_symbols)

),

described as (

    select
        candidates.symbol,
        candidates.session_date,
        candidates.revised_at,
        candidates.is_last_resort,
        candidates.own_source,
        candidates.own_change_number,
        candidates.vendor_count,
        candidates.vendor_changes,
        tapes.tape_at,
        coalesce(
            feed_coverage.covered @> tstzrange(sessions.pre_open_at, sessions.open_at),
            false
        ) as has_whole_pre,
        coalesce(
            feed_coverage.covered @> tstzrange(sessions.open_at, sessions.close_at),
            false
        ) as has_whole_regular,
        coalesce(
            feed_coverage.covered @> tstzrange(sessions.close_at, sessions.post_close_at),
            false
        ) as has_whole_post,
        sessions.pre_open_at,
        sessions.open_at,
        sessions.close_at,
        sessions.post_close_at
    from candidates
    inner join sessions
        on candidates.session_date = sessions.session_date
    left join tapes
        on candidates.own_source = tapes.source
    left join feed_coverage
        on candidates.own_source = feed_coverage.source
        and candidates.symbol = feed_coverage.symbol
        and candidates.session_date = feed_coverage.session_date

),

weighed as (

    select
        symbol,
        session_date,
        own_source,
        tape_at,
        revised_at,
        -- Only beside a vendor's bars does it matter what the feed covered: else each heartbeat would build anew.
        has_whole_pre and vendor_count > 0 as has_whole_pre,
        has_whole_regular and vendor_count > 0 as has_whole_regular,
        has_whole_post and vendor_count > 0 as has_whole_post,
        is_last_resort,
        vendor_count,
        coalesce(own_change_number, 0) as own_change_number,
        -- Everything that the bars of the session follow from but own minutes where no vendor has bars, whose changes are
        -- queued: which segments are over, the changes of vendors' bars, what the feed covered, and the calendar.
        concat_ws(
            '/',
            coalesce(own_source, ''),
            case when vendor_count > 0 then coalesce(own_change_number, 0)::text else '-' end,
            num_nonnulls(
                nullif(tape_at >= open_at, false),
                nullif(tape_at >= close_at, false),
                nullif(tape_at >= post_close_at, false)
            ),
            coalesce(vendor_changes, ''),
            case when vendor_count > 0 then concat(has_whole_pre, has_whole_regular, has_whole_post) end,
            extract(epoch from pre_open_at),
            extract(epoch from open_at),
            extract(epoch from close_at),
            extract(epoch from post_close_at)
        ) as terms
    from described

),

final as (

    -- Equal means that there is nothing to build.
    select
        symbol,
        session_date,
        own_source,
        tape_at,
        revised_at,
        has_whole_pre,
        has_whole_regular,
        has_whole_post,
        is_last_resort,
        vendor_count,
        concat_ws('/', own_change_number, terms) as fingerprint,
        terms
    from weighed

)

select * from final
{%- endmacro %}

{#- A condition: whether a row is of the sessions in `touched`, a relation, or nothing where that is not given. -#}
{% macro and_touched(touched) -%}
    {%- if touched -%}
        and (symbol, session_date) in (select touched.symbol, touched.session_date from {{ touched }} as touched)
    {%- endif -%}
{%- endmacro %}

{#-
  How far the tape of a source is: the start of its newest bar, or what its heartbeats cover until. Bars and heartbeats lie in
  their session, so the newest session of each says it.
-#}
{% macro tape_at(source) -%}
    greatest(
            (
                select newest.newest_bar_at
                from {{ ref('stg_bar_sessions') }} as newest
                where
                    newest.source = {{ source }}
                    and newest.bar_count > 0
                order by newest.session_date desc, newest.newest_bar_at desc
                limit 1
            ),
            (
                select upper(newest.covered)
                from {{ ref('stg_feed_coverage') }} as newest
                where
                    newest.source = {{ source }}
                    and not isempty(newest.covered)
                order by newest.session_date desc, upper(newest.covered) desc
                limit 1
            )
        )
{%- endmacro %}
