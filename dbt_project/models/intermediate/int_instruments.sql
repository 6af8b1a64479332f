with recursive

vendor_bars as not materialized (

    -- The tables themselves: through their views PostgreSQL would not see the order of their indexes.
    select
        source,
        symbol,
        interval,
        bar_at,
        session_date
    from {{ source('lake', 'vendor_bars') }}

),

bar_sessions as not materialized (

    select
        source,
        symbol,
        session_date
    from {{ source('lake', 'bar_sessions') }}
    where bar_count > 0

),

vendor_symbols as (

    -- From one symbol of a source to the next by the index: the bars between them are not looked at.
    (
        select
            source,
            symbol
        from vendor_bars
        order by source, symbol
        limit 1
    )

    union all

    select
        following.source,
        following.symbol
    from vendor_symbols
    cross join
        lateral (
            select
                vendor_bars.source,
                vendor_bars.symbol
            from vendor_bars
            where (vendor_bars.source, vendor_bars.symbol) > (vendor_symbols.source, vendor_symbols.symbol)
            order by vendor_bars.source, vendor_bars.symbol
            limit 1
        ) as following

),

own_symbols as (

    (
        select
            source,
            symbol
        from bar_sessions
        order by source, symbol
        limit 1
    )

    union all

    select
        following.source,
        following.symbol
    from own_symbols
    cross join
        lateral (
            select
                bar_sessions.source,
                bar_sessions.symbol
            from bar_sessions
            where (bar_sessions.source, bar_sessions.symbol) > (own_symbols.source, own_symbols.symbol)
            order by bar_sessions.source, bar_sessions.symbol
            limit 1
        ) as following

),

spans as (

    select
        vendor_symbols.source,
        vendor_symbols.symbol,
        (
            select vendor_bars.session_date
            from vendor_bars
            where
                vendor_bars.source = vendor_symbols.source
                and vendor_bars.symbol = vendor_symbols.symbol
                and vendor_bars.interval = lengths.interval
            order by vendor_bars.bar_at asc
            limit 1
        ) as first_session_date,
        (
            select vendor_bars.session_date
            from vendor_bars
            where
                vendor_bars.source = vendor_symbols.source
                and vendor_bars.symbol = vendor_symbols.symbol
                and vendor_bars.interval = lengths.interval
            order by vendor_bars.bar_at desc
            limit 1
        ) as last_session_date
    from vendor_symbols
    cross join unnest(array['1d', '1h', '15m', '5m', '1m']) as lengths (interval)

    union all

    select
        own_symbols.source,
        own_symbols.symbol,
        (
            select min(bar_sessions.session_date)
            from bar_sessions
            where
                bar_sessions.source = own_symbols.source
                and bar_sessions.symbol = own_symbols.symbol
        ) as first_session_date,
        (
            select max(bar_sessions.session_date)
            from bar_sessions
            where
                bar_sessions.source = own_symbols.source
                and bar_sessions.symbol = own_symbols.symbol
        ) as last_session_date
    from own_symbols

),

symbols as (

    select
        symbol,
        min(first_session_date) as first_session_date,
        max(last_session_date) as last_session_date,
        string_agg(distinct source, ',' order by source) as sources,
        bool_and({{ is_last_resort('source') }}) as is_simulated
    from spans
    group by symbol

),

adjustments as (

    select
        symbol,
        from_date,
        until_date,
        current_symbol
    from {{ ref('int_adjustments') }}

),

watchlist as (

    select
        symbol,
        symbol_group
    from {{ source('app', 'watchlist') }}

),

final as (

    select
        coalesce(symbols.symbol, watchlist.symbol) as symbol,
        symbols.first_session_date,
        symbols.last_session_date,
        -- As historical_ohlcv has it of the symbol's last session.
        case
            when adjustments.symbol is null then coalesce(symbols.symbol, watchlist.symbol)
            else adjustments.current_symbol
        end as current_symbol,
        symbols.sources,
        symbols.is_simulated,
        watchlist.symbol_group as watchlist_group
    from symbols
    full outer join watchlist
        on symbols.symbol = watchlist.symbol
    left join adjustments
        on symbols.symbol = adjustments.symbol
        and symbols.last_session_date >= adjustments.from_date
        and symbols.last_session_date < adjustments.until_date

)

select * from final
