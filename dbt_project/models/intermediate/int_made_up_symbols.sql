with

bar_sessions as (

    select
        source,
        symbol
    from {{ ref('stg_bar_sessions') }}
    where bar_count > 0

    union all

    select
        source,
        symbol
    from {{ ref('stg_vendor_bar_sessions') }}
    where bar_count > 0

),

days as (

    select
        source,
        symbol
    from {{ ref('stg_vendor_bars') }}
    where interval = '1d'

),

made_up as (

    select symbol
    from bar_sessions
    where {{ is_last_resort('source') }}

    union

    select symbol
    from days
    where {{ is_last_resort('source') }}

),

final as (

    select
        made_up.symbol,
        not exists (
            select from days
            where
                days.symbol = made_up.symbol
                and not {{ is_last_resort('days.source') }}
        ) as is_made_up_daily
    from made_up
    where
        not exists (
            select from bar_sessions as others
            where
                others.symbol = made_up.symbol
                and not {{ is_last_resort('others.source') }}
        )

)

select * from final
