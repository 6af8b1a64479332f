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

ranked as (

    select
        source,
        symbol,
        session_date,
        change_number,
        row_number() over (
            partition by symbol, session_date
            order by {{ source_rank('source') }}, source
        ) as preference
    from bar_sessions

),

final as (

    select
        ranked.symbol,
        ranked.session_date,
        ranked.source,
        tapes.tape_at,
        -- Everything that the bars of the session follow from: the change of its minutes, which segments are over, and
        -- the calendar. Equal means that there is nothing to build.
        concat_ws(
            '/',
            ranked.source,
            ranked.change_number,
            num_nonnulls(
                nullif(tapes.tape_at >= sessions.open_at, false),
                nullif(tapes.tape_at >= sessions.close_at, false),
                nullif(tapes.tape_at >= sessions.post_close_at, false)
            ),
            extract(epoch from sessions.pre_open_at),
            extract(epoch from sessions.open_at),
            extract(epoch from sessions.close_at),
            extract(epoch from sessions.post_close_at)
        ) as fingerprint
    from ranked
    inner join tapes
        on ranked.source = tapes.source
    inner join sessions
        on ranked.session_date = sessions.session_date
    where ranked.preference = 1

)

select * from final
