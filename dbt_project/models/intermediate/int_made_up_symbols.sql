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

made_up as (

    select distinct symbol
    from bar_sessions
    where {{ is_last_resort('source') }}

),

final as (

    select made_up.symbol
    from made_up
    where
        not exists (
            select from bar_sessions as others
            where
                others.symbol = made_up.symbol
                and not {{ is_last_resort('others.source') }}
        )
        and not exists (
            select from {{ ref('stg_vendor_bars') }} as days
            where
                days.symbol = made_up.symbol
                and days.interval = '1d'
                and not {{ is_last_resort('days.source') }}
        )

)

select * from final
