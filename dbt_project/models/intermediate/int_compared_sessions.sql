with

intraday_sessions as (

    select
        symbol,
        session_date,
        fingerprint
    from {{ ref('int_intraday_sessions') }}
    where vendor_count + num_nonnulls(own_source) > 1

),

symbol_sessions as (

    select
        symbol,
        session_date,
        source,
        fingerprint
    from {{ ref('int_symbol_sessions') }}

),

daily_bars as (

    select
        symbol,
        session_date,
        source,
        open,
        high,
        low,
        close,
        volume,
        ingested_at
    from {{ ref('stg_vendor_bars') }}
    where interval = '1d'

),

sessions as (

    select
        session_date,
        open_at,
        close_at
    from {{ ref('stg_sessions') }}

),

made_up_symbols as (

    select
        symbol,
        is_made_up_daily
    from {{ ref('int_made_up_symbols') }}

),

with_several_bars as (

    select
        symbol,
        session_date
    from daily_bars
    group by symbol, session_date
    having count(*) > 1

    union

    select
        symbol,
        session_date
    from symbol_sessions

),

daily_sessions as (

    select
        daily_bars.symbol,
        daily_bars.session_date,
        string_agg(
            concat_ws(
                ':',
                daily_bars.source,
                daily_bars.open,
                daily_bars.high,
                daily_bars.low,
                daily_bars.close,
                daily_bars.volume,
                extract(epoch from daily_bars.ingested_at)
            ),
            ',' order by daily_bars.source, daily_bars.ingested_at, daily_bars.open, daily_bars.close
        ) as changes
    from with_several_bars
    inner join daily_bars
        on with_several_bars.symbol = daily_bars.symbol
        and with_several_bars.session_date = daily_bars.session_date
    group by daily_bars.symbol, daily_bars.session_date

),

compared as (

    select
        coalesce(intraday_sessions.symbol, daily_sessions.symbol) as symbol,
        coalesce(intraday_sessions.session_date, daily_sessions.session_date) as session_date,
        intraday_sessions.symbol is not null as has_intraday_bars,
        daily_sessions.symbol is not null as has_daily_bars,
        intraday_sessions.fingerprint as intraday_fingerprint,
        daily_sessions.changes as daily_changes
    from intraday_sessions
    full outer join daily_sessions
        on intraday_sessions.symbol = daily_sessions.symbol
        and intraday_sessions.session_date = daily_sessions.session_date

),

final as (

    select
        compared.symbol,
        compared.session_date,
        compared.has_intraday_bars,
        compared.has_daily_bars,
        concat_ws(
            '/',
            coalesce(compared.intraday_fingerprint, ''),
            coalesce(compared.daily_changes, ''),
            -- The days that own minutes come to.
            case when compared.has_daily_bars then symbol_sessions.fingerprint end,
            -- What is made up is shown as long as nothing real is known of the symbol, on any day.
            case when compared.has_daily_bars then made_up_symbols.is_made_up_daily end,
            extract(epoch from sessions.open_at),
            extract(epoch from sessions.close_at)
        ) as fingerprint
    from compared
    inner join sessions
        on compared.session_date = sessions.session_date
    left join symbol_sessions
        on compared.symbol = symbol_sessions.symbol
        and compared.session_date = symbol_sessions.session_date
    left join made_up_symbols
        on compared.symbol = made_up_symbols.symbol

)

select * from final
