with

bar_sessions as (

    select
        source,
        symbol,
        session_date,
        newest_bar_at,
        change_number
    from {{ ref('stg_bar_sessions') }}
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

halted_symbols as (

    select
        source,
        symbol,
        halted
    from {{ ref('int_halted_symbols') }}

),

sessions as (

    select
        session_date,
        open_at,
        close_at
    from {{ ref('stg_sessions') }}

),

known_sessions as (

    select
        coalesce(bar_sessions.source, feed_coverage.source) as source,
        coalesce(bar_sessions.symbol, feed_coverage.symbol) as symbol,
        coalesce(bar_sessions.session_date, feed_coverage.session_date) as session_date,
        bar_sessions.newest_bar_at,
        bar_sessions.change_number,
        feed_coverage.covered
    from bar_sessions
    full outer join feed_coverage
        on bar_sessions.source = feed_coverage.source
        and bar_sessions.symbol = feed_coverage.symbol
        and bar_sessions.session_date = feed_coverage.session_date

),

newest_sessions as (

    select
        source,
        max(session_date) as session_date
    from known_sessions
    group by source

),

tapes as (

    -- How far each source's tape is, in event time: nothing here looks at a clock. A feed that says what it covers is
    -- not asked for more before it has said so.
    select
        known_sessions.source,
        coalesce(max(upper(known_sessions.covered)), max(known_sessions.newest_bar_at)) as tape_at
    from known_sessions
    inner join newest_sessions
        on known_sessions.source = newest_sessions.source
        and known_sessions.session_date = newest_sessions.session_date
    group by known_sessions.source

),

symbol_spans as (

    select
        source,
        symbol,
        min(session_date) as first_session_date,
        max(session_date) as last_session_date
    from known_sessions
    group by source, symbol

),

expected as (

    select
        symbol_spans.source,
        symbol_spans.symbol,
        sessions.session_date,
        sessions.open_at,
        greatest(sessions.open_at, least(sessions.close_at, date_trunc('minute', tapes.tape_at))) as ends_at
    from symbol_spans
    inner join tapes
        on symbol_spans.source = tapes.source
    inner join sessions
        on sessions.session_date between symbol_spans.first_session_date and symbol_spans.last_session_date

),

described as (

    select
        expected.source,
        expected.symbol,
        expected.session_date,
        expected.open_at,
        expected.ends_at,
        known_sessions.change_number,
        coalesce(known_sessions.covered, '{}') as covered,
        coalesce(
            halted_symbols.halted * tstzmultirange(tstzrange(expected.open_at, expected.ends_at)),
            '{}'
        ) as halted
    from expected
    left join known_sessions
        on expected.source = known_sessions.source
        and expected.symbol = known_sessions.symbol
        and expected.session_date = known_sessions.session_date
    left join halted_symbols
        on expected.source = halted_symbols.source
        and expected.symbol = halted_symbols.symbol

),

final as (

    select
        source,
        symbol,
        session_date,
        open_at,
        ends_at,
        covered,
        halted,
        -- Everything that the gaps of the session follow from. Equal means that there is nothing to build.
        concat_ws(
            '/',
            coalesce(change_number, 0),
            covered::text,
            halted::text,
            extract(epoch from open_at),
            extract(epoch from ends_at)
        ) as fingerprint
    from described

)

select * from final
