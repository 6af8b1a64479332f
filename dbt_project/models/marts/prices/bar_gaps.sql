{{ config(materialized='view') }}

with

session_gaps as (

    select
        source,
        symbol,
        session_date,
        no_trade,
        halted,
        feed_down,
        not_collected
    from {{ ref('int_session_gaps') }}

),

final as (

    select
        session_gaps.symbol,
        '1m' as interval,
        session_gaps.session_date,
        'regular' as segment,
        lower(gap.span) as gap_at,
        upper(gap.span) as gap_end_at,
        (extract(epoch from upper(gap.span) - lower(gap.span)) / 60)::bigint as missing_bars,
        reasons.reason,
        session_gaps.source as origin
    from session_gaps
    cross join
        lateral (
            values
            ('no_trade', session_gaps.no_trade),
            ('halted', session_gaps.halted),
            ('feed_down', session_gaps.feed_down),
            ('not_collected', session_gaps.not_collected)
        ) as reasons (reason, spans)
    cross join lateral unnest(reasons.spans) as gap (span)

)

select * from final
