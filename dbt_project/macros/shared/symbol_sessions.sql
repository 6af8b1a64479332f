{#- The source of each session that is shown; see the page of int_symbol_sessions. `touched` is a relation as in intraday_sessions. -#}
{% macro symbol_sessions(touched=none) -%}
with

bar_sessions as (

    select
        source,
        symbol,
        session_date,
        change_number
    from {{ ref('stg_bar_sessions') }}
    where
        bar_count > 0
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
{%- endmacro %}
