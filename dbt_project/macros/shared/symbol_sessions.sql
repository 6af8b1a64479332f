{#- The source of each session that is shown; see the page of int_symbol_sessions. `touched` is a relation as in intraday_sessions. -#}
{% macro symbol_sessions(touched=none) -%}
with

bar_sessions as (

    select source
    from {{ ref('stg_bar_sessions') }}
    where
        bar_count > 0
        {{ and_touched(touched) }}

),

own_sources as (

    {{ own_sources(touched) }}

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
        select distinct bar_sessions.source
        from bar_sessions
    ) as sources

),

final as (

    select
        own_sources.symbol,
        own_sources.session_date,
        own_sources.source,
        tapes.tape_at,
        -- Everything that the bars of the session follow from: the change of its minutes, which segments are over, and
        -- the calendar. Equal means that there is nothing to build.
        concat_ws(
            '/',
            own_sources.source,
            own_sources.change_number,
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
    from own_sources
    inner join tapes
        on own_sources.source = tapes.source
    inner join sessions
        on own_sources.session_date = sessions.session_date

)

select * from final
{%- endmacro %}
