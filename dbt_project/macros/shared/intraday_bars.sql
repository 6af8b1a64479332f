{#-
  The bars of every source that may be shown of the sessions in `changed_sessions` (rows of int_intraday_sessions, with
  `built_from`), at every length, as the last of some CTEs: `intraday_bars`. `is_given` tells a bar that its vendor gave at
  that length, `is_shown` the ones that marts show. The rule is that of docs/bars.md, decided by symbol, session, segment and
  length.
-#}
{% macro intraday_bars() -%}
    minutes as (

        select * from {{ ref('int_bars_1m_buckets') }}

    ),

    stored_vendor_bars as (

        select * from {{ ref('stg_vendor_bars') }}

    ),

    vendor_bar_sessions as (

        select * from {{ ref('stg_vendor_bar_sessions') }}

    ),

    segments as (

        select * from {{ ref('int_session_segments') }}

    ),

    lengths as (

        select
            interval,
            length
        from (
            values
            ('1m', interval '1 minute'),
            ('5m', interval '5 minutes'),
            ('15m', interval '15 minutes'),
            ('1h', interval '1 hour')
        ) as declared (interval, length)

    ),

    own_bars as (

        select
            changed_sessions.symbol,
            changed_sessions.session_date,
            minutes.segment,
            minutes.interval,
            minutes.bucket_at as bar_at,
            changed_sessions.own_source as source,
            {{ longer_bar('minutes') }},
            changed_sessions.tape_at >= minutes.segment_ends_at as is_final
        from changed_sessions
        inner join minutes
            on changed_sessions.own_source = minutes.source
            and changed_sessions.symbol = minutes.symbol
            and changed_sessions.session_date = minutes.session_date
        where minutes.interval <> '1d'
        group by
            changed_sessions.symbol,
            changed_sessions.session_date,
            changed_sessions.own_source,
            changed_sessions.tape_at,
            minutes.interval,
            minutes.bucket_at,
            minutes.segment,
            minutes.segment_ends_at

    ),

    vendor_bars as (

        -- What does not begin where a bar of its length begins could straddle the end of a segment: it is left in the lake.
        select
            changed_sessions.symbol,
            changed_sessions.session_date,
            segments.segment,
            segments.starts_at,
            stored_vendor_bars.source,
            stored_vendor_bars.interval,
            lengths.length,
            stored_vendor_bars.bar_at,
            stored_vendor_bars.open,
            stored_vendor_bars.high,
            stored_vendor_bars.low,
            stored_vendor_bars.close,
            stored_vendor_bars.volume,
            stored_vendor_bars.revision,
            stored_vendor_bars.ingested_at
        from changed_sessions
        inner join vendor_bar_sessions
            on changed_sessions.symbol = vendor_bar_sessions.symbol
            and changed_sessions.session_date = vendor_bar_sessions.session_date
            and changed_sessions.is_last_resort = {{ is_last_resort('vendor_bar_sessions.source') }}
        inner join segments
            on changed_sessions.session_date = segments.session_date
        inner join lengths
            on vendor_bar_sessions.interval = lengths.interval
        inner join stored_vendor_bars
            on vendor_bar_sessions.source = stored_vendor_bars.source
            and vendor_bar_sessions.symbol = stored_vendor_bars.symbol
            and vendor_bar_sessions.interval = stored_vendor_bars.interval
            and segments.starts_at <= stored_vendor_bars.bar_at
            and segments.ends_at > stored_vendor_bars.bar_at
        where date_bin(lengths.length, stored_vendor_bars.bar_at, segments.starts_at) = stored_vendor_bars.bar_at

    ),

    given_lengths as (

        select distinct
            symbol,
            session_date,
            segment,
            source,
            interval,
            length
        from vendor_bars

    ),

    derived_lengths as (

        -- Of each length that a vendor did not give the longest shorter one that it gave.
        select distinct on (given_lengths.symbol, given_lengths.session_date, given_lengths.segment, given_lengths.source, lengths.interval)
            given_lengths.symbol,
            given_lengths.session_date,
            given_lengths.segment,
            given_lengths.source,
            given_lengths.interval as base_interval,
            lengths.interval,
            lengths.length
        from given_lengths
        inner join lengths
            on given_lengths.length <= lengths.length
        order by
            given_lengths.symbol,
            given_lengths.session_date,
            given_lengths.segment,
            given_lengths.source,
            lengths.interval,
            given_lengths.length desc

    ),

    derived_bars as (

        select
            vendor_bars.symbol,
            vendor_bars.session_date,
            vendor_bars.segment,
            derived_lengths.interval,
            date_bin(derived_lengths.length, vendor_bars.bar_at, vendor_bars.starts_at) as bar_at,
            vendor_bars.source,
            (array_agg(vendor_bars.open order by vendor_bars.bar_at))[1] as open,
            max(vendor_bars.high) as high,
            min(vendor_bars.low) as low,
            (array_agg(vendor_bars.close order by vendor_bars.bar_at desc))[1] as close,
            sum(vendor_bars.volume)::bigint as volume,
            sum(vendor_bars.revision)::bigint as revision,
            max(vendor_bars.ingested_at) as revised_at
        from derived_lengths
        inner join vendor_bars
            on derived_lengths.symbol = vendor_bars.symbol
            and derived_lengths.session_date = vendor_bars.session_date
            and derived_lengths.segment = vendor_bars.segment
            and derived_lengths.source = vendor_bars.source
            and derived_lengths.base_interval = vendor_bars.interval
        where derived_lengths.interval <> derived_lengths.base_interval
        group by
            vendor_bars.symbol,
            vendor_bars.session_date,
            vendor_bars.segment,
            derived_lengths.interval,
            date_bin(derived_lengths.length, vendor_bars.bar_at, vendor_bars.starts_at),
            vendor_bars.source

    ),

    candidate_bars as (

        select
            symbol,
            session_date,
            segment,
            interval,
            bar_at,
            source,
            false as is_vendor_bar,
            false as is_given,
            open,
            high,
            low,
            close,
            volume,
            {{ vwap('notional', 'volume') }} as vwap,
            trade_count,
            revision,
            revised_at,
            is_final
        from own_bars

        union all

        select
            symbol,
            session_date,
            segment,
            interval,
            bar_at,
            source,
            true as is_vendor_bar,
            true as is_given,
            open,
            high,
            low,
            close,
            volume,
            null as vwap,
            null as trade_count,
            revision,
            ingested_at as revised_at,
            true as is_final
        from vendor_bars

        union all

        select
            symbol,
            session_date,
            segment,
            interval,
            bar_at,
            source,
            true as is_vendor_bar,
            false as is_given,
            open,
            high,
            low,
            close,
            volume,
            null as vwap,
            null as trade_count,
            revision,
            revised_at,
            true as is_final
        from derived_bars

    ),

    candidates as (

        select
            symbol,
            session_date,
            segment,
            interval,
            source,
            is_vendor_bar,
            count(*) as bar_count,
            max(bar_at) as newest_bar_at,
            coalesce(bool_or(is_final), false) as is_over,
            row_number() over (
                partition by symbol, session_date, segment, interval, is_vendor_bar
                order by {{ source_rank('source') }}, source
            ) as preference
        from candidate_bars
        group by symbol, session_date, segment, interval, source, is_vendor_bar

    ),

    shown_candidates as (

        -- Own bars, unless the feed may have missed something of the segment and the vendor has more of them. While the
        -- segment goes on, a vendor's bars never take the place of newer ones.
        select distinct on (candidates.symbol, candidates.session_date, candidates.segment, candidates.interval)
            candidates.symbol,
            candidates.session_date,
            candidates.segment,
            candidates.interval,
            candidates.source,
            candidates.is_vendor_bar
        from candidates
        inner join changed_sessions
            on candidates.symbol = changed_sessions.symbol
            and candidates.session_date = changed_sessions.session_date
        left join candidates as vendor
            on candidates.symbol = vendor.symbol
            and candidates.session_date = vendor.session_date
            and candidates.segment = vendor.segment
            and candidates.interval = vendor.interval
            and vendor.is_vendor_bar
            and vendor.preference = 1
        where candidates.preference = 1
        order by
            candidates.symbol,
            candidates.session_date,
            candidates.segment,
            candidates.interval,
            case
                when candidates.is_vendor_bar then 2
                when vendor.source is null then 1
                when candidates.segment = 'pre' and changed_sessions.has_whole_pre then 1
                when candidates.segment = 'regular' and changed_sessions.has_whole_regular then 1
                when candidates.segment = 'post' and changed_sessions.has_whole_post then 1
                when not candidates.is_over and candidates.newest_bar_at > vendor.newest_bar_at then 1
                when candidates.bar_count >= vendor.bar_count then 1
                else 3
            end

    ),

    intraday_bars as (

        select
            candidate_bars.symbol,
            candidate_bars.session_date,
            candidate_bars.segment,
            candidate_bars.interval,
            candidate_bars.bar_at,
            candidate_bars.source,
            candidate_bars.is_vendor_bar,
            candidate_bars.is_given,
            candidate_bars.open,
            candidate_bars.high,
            candidate_bars.low,
            candidate_bars.close,
            candidate_bars.volume,
            candidate_bars.vwap,
            candidate_bars.trade_count,
            candidate_bars.revision::bigint as revision,
            candidate_bars.revised_at,
            candidate_bars.is_final,
            changed_sessions.built_from,
            shown_candidates.source = candidate_bars.source
            and shown_candidates.is_vendor_bar = candidate_bars.is_vendor_bar as is_shown
        from candidate_bars
        inner join changed_sessions
            on candidate_bars.symbol = changed_sessions.symbol
            and candidate_bars.session_date = changed_sessions.session_date
        inner join shown_candidates
            on candidate_bars.symbol = shown_candidates.symbol
            and candidate_bars.session_date = shown_candidates.session_date
            and candidate_bars.segment = shown_candidates.segment
            and candidate_bars.interval = shown_candidates.interval

    )
{%- endmacro %}
