{#- What is known of each day; see the page of int_daily_sessions. `touched` is a relation as in intraday_sessions. -#}
{% macro daily_sessions(touched=none) -%}
with

vendor_bars as (

    select known.* from {{ ref('int_vendor_daily_bars') if not touched else '(' ~ vendor_daily_bars(touched) ~ ')' }} as known

),

made_up_symbols as (

    select made_up.symbol
    from {{ made_up_symbols_of(touched) }} as made_up
    where made_up.is_made_up_daily

),

symbol_sessions as (

    select known.* from {{ ref('int_symbol_sessions') if not touched else '(' ~ symbol_sessions(touched) ~ ')' }} as known
    where
        not {{ is_last_resort('known.source') }}
        or known.symbol in (select made_up_symbols.symbol from made_up_symbols)

),

sessions as (

    select
        session_date,
        open_at
    from {{ ref('stg_sessions') }}

),

from_vendors as (

    select
        vendor_bars.symbol,
        vendor_bars.session_date,
        vendor_bars.source,
        true as is_vendor_bar,
        null::timestamp with time zone as tape_at,
        concat_ws(
            '/',
            'vendor',
            vendor_bars.source,
            vendor_bars.open,
            vendor_bars.high,
            vendor_bars.low,
            vendor_bars.close,
            vendor_bars.volume,
            vendor_bars.revision,
            extract(epoch from vendor_bars.ingested_at)
        ) as fingerprint
    from vendor_bars

),

from_minutes as (

    select
        symbol_sessions.symbol,
        symbol_sessions.session_date,
        symbol_sessions.source,
        false as is_vendor_bar,
        symbol_sessions.tape_at,
        symbol_sessions.fingerprint
    from symbol_sessions
    left join vendor_bars
        on symbol_sessions.symbol = vendor_bars.symbol
        and symbol_sessions.session_date = vendor_bars.session_date
    where vendor_bars.symbol is null

),

daily_sessions as (

    select * from from_vendors
    union all
    select * from from_minutes

),

final as (

    select
        daily_sessions.symbol,
        daily_sessions.session_date,
        daily_sessions.source,
        daily_sessions.is_vendor_bar,
        daily_sessions.tape_at,
        sessions.open_at,
        concat_ws('/', daily_sessions.fingerprint, extract(epoch from sessions.open_at)) as fingerprint
    from daily_sessions
    inner join sessions
        on daily_sessions.session_date = sessions.session_date

)

select * from final
{%- endmacro %}
