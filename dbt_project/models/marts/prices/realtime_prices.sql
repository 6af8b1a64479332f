{{ config(materialized='view') }}

with

symbol_sessions as (

    select
        symbol,
        session_date,
        source,
        tape_at,
        row_number() over (partition by symbol order by session_date desc) as recency
    from {{ ref('int_symbol_sessions') }}

),

latest_sessions as (

    select
        symbol,
        session_date,
        source,
        tape_at
    from symbol_sessions
    where recency = 1

),

sessions as materialized (

    -- The session before is looked up once for each session that is the newest of a symbol, not once for each symbol.
    select
        listed.session_date,
        listed.close_at,
        (
            select max(earlier.session_date)
            from {{ ref('stg_sessions') }} as earlier
            where earlier.session_date < listed.session_date
        ) as previous_session_date
    from {{ ref('stg_sessions') }} as listed
    where listed.session_date in (select newest.session_date from latest_sessions as newest)

),

bars as (

    select * from {{ ref('stg_bars_1m') }}

),

latest_quotes as (

    select * from {{ ref('stg_latest_quotes') }}

),

historical_ohlcv as not materialized (

    select * from {{ ref('historical_ohlcv') }}

),

splits as materialized (

    select
        symbol,
        effective_date,
        source,
        new_shares,
        old_shares,
        same_dates
    from {{ ref('int_known_actions') }}
    where action = 'split'

),

symbol_changes as (

    select
        symbol,
        effective_date,
        new_symbol
    from {{ ref('int_known_actions') }}
    where action = 'symbol_change'

),

session_prices as (

    -- One session after the other: each is some hundred bars that an index has together; no others are looked at.
    select
        latest_sessions.symbol,
        latest_sessions.session_date,
        latest_sessions.source,
        latest_sessions.tape_at,
        prices.price,
        prices.price_at,
        prices.segment,
        prices.first_price,
        prices.open,
        prices.high,
        prices.low,
        prices.close,
        prices.volume,
        prices.notional,
        prices.trade_count,
        prices.revised_at
    from latest_sessions
    cross join lateral (
        select
            (array_agg(bars.close order by bars.bar_at desc) filter (where bars.close is not null))[1] as price,
            max(bars.bar_at) filter (where bars.close is not null) as price_at,
            (array_agg(bars.segment order by bars.bar_at desc) filter (where bars.close is not null))[1] as segment,
            (array_agg(bars.open order by bars.bar_at) filter (where bars.open is not null))[1] as first_price,
            (
                array_agg(bars.open order by bars.bar_at)
                filter (where bars.segment = 'regular' and bars.open is not null)
            )[1] as open,
            max(bars.high) filter (where bars.segment = 'regular') as high,
            min(bars.low) filter (where bars.segment = 'regular') as low,
            (
                array_agg(bars.close order by bars.bar_at desc)
                filter (where bars.segment = 'regular' and bars.close is not null)
            )[1] as close,
            coalesce(sum(bars.volume) filter (where bars.segment = 'regular'), 0)::bigint as volume,
            sum(bars.notional) filter (where bars.segment = 'regular') as notional,
            coalesce(sum(bars.trade_count) filter (where bars.segment = 'regular'), 0)::bigint as trade_count,
            max(bars.revised_at) as revised_at
        from bars
        where
            bars.source = latest_sessions.source
            and bars.symbol = latest_sessions.symbol
            and bars.session_date = latest_sessions.session_date
    ) as prices

),

taken_symbols as (

    select
        new_symbol,
        effective_date,
        min(symbol) as symbol
    from symbol_changes
    group by new_symbol, effective_date

),

beside_previous_closes as (

    select
        session_prices.symbol,
        session_prices.session_date,
        session_prices.source,
        session_prices.tape_at,
        session_prices.price,
        session_prices.price_at,
        session_prices.segment,
        session_prices.open,
        session_prices.high,
        session_prices.low,
        session_prices.close,
        session_prices.volume,
        session_prices.notional,
        session_prices.trade_count,
        session_prices.revised_at,
        sessions.previous_session_date,
        sessions.close_at as session_close_at,
        historical_ohlcv.current_symbol,
        historical_ohlcv.split_factor,
        historical_ohlcv.close as raw_previous_close,
        splits.source as split_source,
        splits.new_shares,
        splits.old_shares,
        splits.same_dates,
        splits.old_shares / splits.new_shares as announced_ratio,
        coalesce(session_prices.open, session_prices.first_price) / nullif(historical_ohlcv.close, 0) as observed_ratio
    from session_prices
    inner join sessions
        on session_prices.session_date = sessions.session_date
    left join taken_symbols
        on session_prices.symbol = taken_symbols.new_symbol
        and session_prices.session_date = taken_symbols.effective_date
    left join symbol_changes
        on session_prices.symbol = symbol_changes.symbol
        and session_prices.session_date = symbol_changes.effective_date
    left join historical_ohlcv
        -- Under which symbol the same company traded in the session before: none if it is another's since this one.
        on historical_ohlcv.symbol = case
            when taken_symbols.symbol is not null then taken_symbols.symbol
            when symbol_changes.symbol is null then session_prices.symbol
        end
        and sessions.previous_session_date = historical_ohlcv.session_date
        -- Nothing real is compared with what a simulation made up.
        and {{ is_last_resort('session_prices.source') }} = {{ is_last_resort('historical_ohlcv.origin') }}
    left join lateral (
        select splits.*
        from splits
        where
            session_prices.session_date = splits.effective_date
            and (
                session_prices.symbol = splits.symbol
                -- Under the symbol that ends on this day, unless somebody else takes it.
                or taken_symbols.symbol = splits.symbol
                and not exists (
                    select from taken_symbols as taken_over
                    where
                        taken_over.new_symbol = splits.symbol
                        and taken_over.effective_date = splits.effective_date
                )
            )
        order by session_prices.symbol = splits.symbol desc
        limit 1
    ) as splits on true

),

judged_splits as (

    -- A split of the newest session counts as soon as it is known, unless no share ever had such a one, the first price
    -- contradicts it, or a better source has the same of another day and the price does not show it now.
    select
        symbol,
        session_date,
        source,
        tape_at,
        price,
        price_at,
        segment,
        open,
        high,
        low,
        close,
        volume,
        notional,
        trade_count,
        revised_at,
        previous_session_date,
        session_close_at,
        current_symbol,
        split_factor,
        raw_previous_close,
        new_shares,
        old_shares,
        split_source is not null
        and not {{ is_split_absurd('new_shares', 'old_shares') }}
        -- What has no room in the column would stop all symbols.
        and coalesce(raw_previous_close * old_shares <= 999999999999 * new_shares, true)
        and (
            split_source = 'user'
            or not coalesce(
                {{ is_split_doubted('observed_ratio', 'announced_ratio') }}
                or same_dates is not null and {{ is_split_unseen('observed_ratio', 'announced_ratio') }},
                false
            )
        ) as is_split
    from beside_previous_closes

),

with_previous_closes as (

    -- In the shares of the newest session.
    select
        judged_splits.*,
        case
            when judged_splits.is_split
                then {{ vwap(
                    'judged_splits.raw_previous_close * judged_splits.old_shares', 'judged_splits.new_shares'
                ) }}
            else judged_splits.raw_previous_close
        end as previous_close,
        case
            when judged_splits.is_split
                then judged_splits.split_factor * judged_splits.new_shares / judged_splits.old_shares
            else judged_splits.split_factor
        end::double precision as shares_ratio
    from judged_splits

),

with_usual_volumes as (

    select
        with_previous_closes.*,
        case
            when days_before.day_count = 20
                then days_before.mean_volume * with_previous_closes.shares_ratio
        end as average_volume_20
    from with_previous_closes
    cross join lateral {{ usual_volume('historical_ohlcv', 'with_previous_closes') }} as days_before

),

final as (

    select
        session_prices.symbol,
        session_prices.price::numeric(18, 6) as price,
        session_prices.price_at,
        session_prices.segment,
        session_prices.session_date,
        session_prices.open::numeric(18, 6) as open,
        session_prices.high::numeric(18, 6) as high,
        session_prices.low::numeric(18, 6) as low,
        session_prices.close::numeric(18, 6) as close,
        session_prices.volume,
        {{ vwap('session_prices.notional', 'session_prices.volume') }} as vwap,
        session_prices.trade_count,
        session_prices.previous_session_date,
        session_prices.previous_close::numeric(18, 6) as previous_close,
        (session_prices.price - session_prices.previous_close)::numeric(18, 6) as change,
        round(
            100 * (session_prices.price - session_prices.previous_close) / nullif(session_prices.previous_close, 0),
            6
        )::double precision as change_pct,
        latest_quotes.bid,
        latest_quotes.bid_size,
        latest_quotes.bid_at,
        latest_quotes.ask,
        latest_quotes.ask_size,
        latest_quotes.ask_at,
        session_prices.tape_at >= session_prices.session_close_at as is_final,
        session_prices.source as origin,
        session_prices.revised_at,
        greatest(
            0,
            floor(extract(epoch from now() - session_prices.price_at - interval '1 minute'))
        )::bigint as staleness_seconds,
        session_prices.average_volume_20,
        session_prices.volume / nullif(session_prices.average_volume_20, 0) as volume_ratio,
        (
            (session_prices.close - session_prices.low) / nullif(session_prices.high - session_prices.low, 0)
        )::double precision as range_position
    from with_usual_volumes as session_prices
    left join latest_quotes
        on session_prices.source = latest_quotes.source
        and session_prices.symbol = latest_quotes.symbol

)

select * from final
