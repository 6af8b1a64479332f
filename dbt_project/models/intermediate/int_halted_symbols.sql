with

changes as (

    -- What is said again, or for another reason, changes nothing. Of two at the same moment the resume is the later.
    select
        source,
        symbol,
        changed_at,
        kind,
        lag(kind, 1, 'resume') over said as kind_before
    from {{ ref('stg_trading_halts') }}
    window said as (
        partition by source, symbol
        order by changed_at, kind
    )

),

spans as (

    select
        source,
        symbol,
        kind,
        tstzrange(changed_at, lead(changed_at) over (partition by source, symbol order by changed_at, kind)) as span
    from changes
    where kind <> kind_before

),

final as (

    select
        source,
        symbol,
        range_agg(span) as halted
    from spans
    where kind = 'halt'
    group by source, symbol

)

select * from final
