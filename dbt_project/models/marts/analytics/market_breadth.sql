{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['is_simulated', 'session_date'], 'unique': true}],
        pre_hook=["{{ begin_building() }}", "{{ begin_breadth(this) }}"],
        post_hook="{{ watch_summary(this, breadth_logic()) }}",
    )
}}

with

days as (

    select
        days.session_date,
        {{ is_last_resort('days.origin') }} as is_simulated,
        days.return_1,
        days.volume,
        days.is_final,
        days.high::double precision >= days.high_52w and days.high_52w > days.low_52w as is_new_high,
        days.low::double precision <= days.low_52w and days.high_52w > days.low_52w as is_new_low,
        {{ is_above_average(50) }},
        {{ is_above_average(200) }}
    from {{ ref('daily_analytics') }} as days
    {% if is_incremental() %}
        inner join changed_sessions
            on days.session_date = changed_sessions.session_date
    {% endif %}

),

counted as (

    select
        session_date,
        is_simulated,
        count(*) as symbols,
        count(*) filter (where return_1 > 0) as advancing,
        count(*) filter (where return_1 < 0) as declining,
        count(*) filter (where return_1 = 0) as unchanged,
        count(*) filter (where return_1 is null) as not_compared,
        coalesce(sum(volume) filter (where return_1 > 0), 0) as advancing_volume,
        coalesce(sum(volume) filter (where return_1 < 0), 0) as declining_volume,
        coalesce(sum(volume) filter (where return_1 = 0), 0) as unchanged_volume,
        count(*) filter (where is_new_high) as new_highs,
        count(*) filter (where is_new_low) as new_lows,
        count(is_new_high) as symbols_52_weeks,
        count(*) filter (where is_above_50) as above_average_50,
        {{ count_of_compared(50) }},
        count(*) filter (where is_above_200) as above_average_200,
        {{ count_of_compared(200) }},
        bool_and(is_final) as is_final
    from days
    group by session_date, is_simulated

),

lines as (

    -- Where the line of the sessions before the changed ones ends.
    {% if is_incremental() %}
        select distinct on (is_simulated)
            is_simulated,
            advance_decline_line
        from {{ this }}
        order by is_simulated asc, session_date desc
    {% else %}
        select
            null::boolean as is_simulated,
            null::bigint as advance_decline_line
    {% endif %}

),

final as (

    select
        counted.session_date,
        counted.is_simulated,
        counted.symbols,
        counted.advancing,
        counted.declining,
        counted.unchanged,
        counted.not_compared,
        counted.advancing_volume::numeric(38, 0) as advancing_volume,
        counted.declining_volume::numeric(38, 0) as declining_volume,
        counted.unchanged_volume::numeric(38, 0) as unchanged_volume,
        (
            coalesce(lines.advance_decline_line, 0)
            + sum(counted.advancing - counted.declining) over (
                partition by counted.is_simulated
                order by counted.session_date
            )
        )::bigint as advance_decline_line,
        counted.new_highs,
        counted.new_lows,
        counted.symbols_52_weeks,
        counted.above_average_50::double precision / nullif(counted.symbols_50, 0) as share_above_average_50,
        counted.symbols_50,
        counted.above_average_200::double precision / nullif(counted.symbols_200, 0) as share_above_average_200,
        counted.symbols_200,
        counted.is_final
    from counted
    left join lines
        on counted.is_simulated = lines.is_simulated

)

select * from final
