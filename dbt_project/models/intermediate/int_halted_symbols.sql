with

trading_halts as (

    select
        source,
        symbol,
        changed_at,
        kind
    from {{ ref('stg_trading_halts') }}

),

bars as (

    select
        source,
        symbol,
        bar_at
    from {{ ref('stg_bars_1m') }}

),

said as (

    -- Of two at the same moment the resume is the later.
    select
        source,
        symbol,
        changed_at,
        kind,
        lead(kind) over in_order as next_kind,
        min(changed_at) filter (where kind = 'resume')
            over (in_order rows between 1 following and unbounded following) as resumed_at
    from trading_halts
    window in_order as (
        partition by source, symbol
        order by changed_at, kind
    )

),

spans as (

    -- A resume may be lost with the connection, and nobody says it again: a halt that none follows ends where the
    -- symbol trades again. One that its resume follows lasts until then, whatever is reported late meanwhile.
    select
        said.source,
        said.symbol,
        tstzrange(said.changed_at, least(said.resumed_at, traded.bar_at)) as span
    from said
    left join
        lateral (
            select min(bars.bar_at) as bar_at
            from bars
            where
                bars.source = said.source
                and bars.symbol = said.symbol
                and bars.bar_at > said.changed_at
        ) as traded
        on said.next_kind is distinct from 'resume'
    where said.kind = 'halt'

),

final as (

    select
        source,
        symbol,
        range_agg(span) as halted
    from spans
    group by source, symbol

)

select * from final
