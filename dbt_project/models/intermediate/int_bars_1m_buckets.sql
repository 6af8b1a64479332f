with

bars as (

    select
        source,
        symbol,
        bar_at,
        session_date,
        segment,
        open,
        high,
        low,
        close,
        volume,
        notional,
        trade_count,
        revision,
        revised_at
    from {{ ref('stg_bars_1m') }}

),

segments as (

    select
        session_date,
        segment,
        starts_at,
        ends_at
    from {{ ref('int_session_segments') }}

),

intervals as (

    select
        interval,
        length
    from (
        values
        ('1m', interval '1 minute'),
        ('5m', interval '5 minutes'),
        ('15m', interval '15 minutes'),
        ('1h', interval '1 hour'),
        ('1d', interval '1 day')
    ) as declared (interval, length)

),

buckets as (

    select
        bars.source,
        bars.symbol,
        intervals.interval,
        -- Counted from the start of the segment, and a segment's minutes never meet another's: a bar cannot straddle.
        date_bin(intervals.length, bars.bar_at, segments.starts_at) as bucket_at,
        bars.bar_at,
        bars.session_date,
        bars.segment,
        segments.ends_at as segment_ends_at,
        bars.open,
        bars.high,
        bars.low,
        bars.close,
        bars.volume,
        bars.notional,
        bars.trade_count,
        bars.revision,
        bars.revised_at
    from bars
    inner join segments
        on bars.session_date = segments.session_date
        and bars.segment = segments.segment
    cross join intervals
    where intervals.interval <> '1d' or bars.segment = 'regular'

)

select * from buckets
