with

bar_sessions as (

    select
        source,
        symbol,
        session_date,
        newest_bar_at,
        revised_at,
        change_number
    from {{ ref('stg_bar_sessions') }}
    where bar_count > 0

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
    where bar_count > 0

),

feed_coverage as (

    select
        source,
        symbol,
        session_date,
        covered
    from {{ ref('stg_feed_coverage') }}

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

reached as (

    select
        source,
        newest_bar_at as reached_at
    from bar_sessions

    union all

    select
        source,
        upper(covered) as reached_at
    from feed_coverage

),

tapes as (

    -- How far each source's tape is, in event time: nothing here looks at a clock.
    select
        source,
        max(reached_at) as tape_at
    from reached
    group by source

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

    select distinct on (symbol, session_date)
        symbol,
        session_date,
        source,
        change_number,
        {{ is_last_resort('source') }} as is_last_resort
    from bar_sessions
    order by symbol, session_date, {{ source_rank('source') }}, source

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

    select symbol
    from {{ ref('int_made_up_symbols') }}

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

final as (

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
        -- Everything that the bars of the session follow from: the changes of its bars, which segments are over, what
        -- the feed covered, and the calendar. Equal means that there is nothing to build.
        concat_ws(
            '/',
            coalesce(own_source, ''),
            coalesce(own_change_number, 0),
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
        ) as fingerprint
    from described

)

select * from final
