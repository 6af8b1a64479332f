{#-
  The bars of every source that may be shown of the sessions in `changed_sessions` (rows of int_intraday_sessions, with
  `built_from`, and `from_at`: only bars that end after it; null for all), at every length, as the last of some CTEs: `intraday_bars`. `is_given` tells a bar that its vendor gave at
  that length, `is_shown` the ones that marts show. The rule is that of docs/bars.md, decided by symbol, session, segment and
  length.
-#}
{% macro intraday_bars() -%}
    minutes as not materialized (

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
        from {{ intraday_lengths() }} as declared (interval, length)

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
            changed_sessions.tape_at >= minutes.segment_ends_at as is_final,
            changed_sessions.built_from,
            case minutes.segment
                when 'pre' then changed_sessions.has_whole_pre
                when 'regular' then changed_sessions.has_whole_regular
                else changed_sessions.has_whole_post
            end as is_whole
        from changed_sessions
        cross join lateral (
            -- Session by session, by an index; where it is known what changed, of the hour before only.
            select *
            from minutes as own_minutes
            where own_minutes.source = changed_sessions.own_source
                and own_minutes.symbol = changed_sessions.symbol
                and own_minutes.session_date = changed_sessions.session_date
                and own_minutes.bar_at > coalesce(changed_sessions.from_at - interval '1 hour', '-infinity')
                and own_minutes.bar_at < changed_sessions.session_date::timestamp at time zone 'UTC' + interval '2 days'
            offset 0
        ) as minutes
        inner join lengths
            on minutes.interval = lengths.interval
            and minutes.bucket_at > coalesce(changed_sessions.from_at - lengths.length, '-infinity')
        group by
            changed_sessions.symbol,
            changed_sessions.session_date,
            changed_sessions.own_source,
            changed_sessions.tape_at,
            changed_sessions.built_from,
            changed_sessions.has_whole_pre,
            changed_sessions.has_whole_regular,
            changed_sessions.has_whole_post,
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
            stored_vendor_bars.ingested_at,
            changed_sessions.built_from
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

    measured_vendor_bars as (

        -- Windows in place of joins: nobody can estimate these rows, and a nested loop over millions of them never ends.
        select
            vendor_bars.*,
            bool_or(interval = '5m') over own_segment as gives_5m,
            bool_or(interval = '15m') over own_segment as gives_15m,
            bool_or(interval = '1h') over own_segment as gives_1h
        from vendor_bars
        window own_segment as (partition by symbol, session_date, segment, source)

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
            max(vendor_bars.ingested_at) as revised_at,
            vendor_bars.built_from
        from measured_vendor_bars as vendor_bars
        inner join lengths as derived_lengths
            -- Of each length that a vendor did not give the longest shorter one that it gave.
            on (
                derived_lengths.interval = '5m'
                and vendor_bars.interval = '1m'
                and not vendor_bars.gives_5m
            )
            or (
                derived_lengths.interval = '15m'
                and not vendor_bars.gives_15m
                and vendor_bars.interval = case when vendor_bars.gives_5m then '5m' else '1m' end
            )
            or (
                derived_lengths.interval = '1h'
                and not vendor_bars.gives_1h
                and vendor_bars.interval = case
                    when vendor_bars.gives_15m then '15m'
                    when vendor_bars.gives_5m then '5m'
                    else '1m'
                end
            )
        group by
            vendor_bars.symbol,
            vendor_bars.session_date,
            vendor_bars.segment,
            derived_lengths.interval,
            date_bin(derived_lengths.length, vendor_bars.bar_at, vendor_bars.starts_at),
            vendor_bars.source,
            vendor_bars.built_from

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
            is_final,
            is_whole,
            built_from
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
            true as is_final,
            false as is_whole,
            built_from
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
            true as is_final,
            false as is_whole,
            built_from
        from derived_bars

    ),

    counted_bars as (

        select
            candidate_bars.*,
            -- A bar without a price, as one whose trades were all cancelled, is none that stands against a vendor's.
            count(open) over own_side as bar_count,
            max(bar_at) filter (where open is not null) over own_side as newest_bar_at,
            dense_rank() over (
                partition by symbol, session_date, segment, interval, is_vendor_bar
                order by {{ source_rank('source') }}, source
            ) as preference
        from candidate_bars
        window own_side as (
            partition by symbol, session_date, segment, interval, is_vendor_bar, {{ source_rank('source') }}, source
        )

    ),

    measured_bars as (

        select
            counted_bars.*,
            max(bar_count) over same_kind as most_bars
        from counted_bars
        window same_kind as (partition by symbol, session_date, segment, interval, is_vendor_bar)

    ),

    preferred_bars as (

        -- Of several vendors the first that has not markedly fewer bars than another one.
        select
            measured_bars.*,
            preference = min(preference) filter (
                where bar_count * 100 >= most_bars * {{ var('vendor_completeness_percent') }}
            ) over same_kind as is_preferred
        from measured_bars
        window same_kind as (partition by symbol, session_date, segment, interval, is_vendor_bar)

    ),

    weighed_bars as (

        select
            preferred_bars.*,
            max(bar_count) filter (where not is_vendor_bar) over own_group as own_count,
            max(newest_bar_at) filter (where not is_vendor_bar) over own_group as own_newest_at,
            max(volume) filter (where not is_vendor_bar) over own_group as own_volume,
            bool_or(is_whole) filter (where not is_vendor_bar) over own_group as is_own_whole,
            bool_or(is_final) filter (where not is_vendor_bar) over own_group as is_own_over,
            max(bar_count) filter (where is_vendor_bar and is_preferred) over own_group as vendor_count,
            max(newest_bar_at) filter (where is_vendor_bar and is_preferred) over own_group as vendor_newest_at
        from preferred_bars
        window own_group as (partition by symbol, session_date, segment, interval)

    ),

    chosen_bars as (

        -- Own bars, unless the feed may have missed something of the segment and the vendor has more of them. While the
        -- segment goes on, a vendor's bars never take the place of newer ones.
        select
            weighed_bars.*,
            is_preferred and is_vendor_bar = (
                case
                    when own_count is null then true
                    when vendor_count is null then false
                    when is_own_whole then false
                    when not is_own_over and own_newest_at > vendor_newest_at then false
                    -- Nothing but samples of the market has no volume at all.
                    when own_volume = 0 then vendor_count >= own_count
                    else vendor_count > own_count
                end
            ) as is_chosen
        from weighed_bars

    ),

    decided_bars as (

        select
            chosen_bars.*,
            bool_or(is_given and interval = '5m') over own_segment as is_5m_given,
            bool_or(is_given and interval = '15m') over own_segment as is_15m_given,
            bool_or(is_given and interval = '1h') over own_segment as is_1h_given,
            bool_or(is_chosen and interval = '1m') over own_source as is_1m_chosen,
            bool_or(is_chosen and interval = '5m') over own_source as is_5m_chosen,
            bool_or(is_chosen and interval = '15m') over own_source as is_15m_chosen
        from chosen_bars
        window
            own_segment as (partition by symbol, session_date, segment),
            own_source as (partition by symbol, session_date, segment, is_vendor_bar, source)

    ),

    intraday_bars as (

        -- A length that no vendor gave follows the longest shorter one that is given, or minutes: of what bars are made of,
        -- there is no telling by their number how much of them is there.
        select
            symbol,
            session_date,
            segment,
            interval,
            bar_at,
            source,
            is_vendor_bar,
            is_given,
            open,
            high,
            low,
            close,
            volume,
            vwap,
            trade_count,
            revision::bigint as revision,
            revised_at,
            is_final,
            built_from,
            case
                when interval = '1m' or vendor_count is null then is_chosen
                when interval = '1h' and is_1h_given or interval = '15m' and is_15m_given or interval = '5m' and is_5m_given
                    then is_chosen
                when interval = '1h' and is_15m_given then is_15m_chosen
                when interval in ('1h', '15m') and is_5m_given then is_5m_chosen
                else is_1m_chosen
            end as is_shown
        from decided_bars

    )
{%- endmacro %}

{#- The lengths of intraday bars, as a relation. -#}
{% macro intraday_lengths() -%}
    (
            values
            ('1m', interval '1 minute'),
            ('5m', interval '5 minutes'),
            ('15m', interval '15 minutes'),
            ('1h', interval '1 hour')
        )
{%- endmacro %}
