{#- The text of a mart of daily indicators behind its configuration: the days of the changed series, by the function `indicators`. -#}
{% macro daily_indicators(indicators) -%}
with

changed_days as (

    -- Depends on {{ ref('historical_ohlcv') }}, which the function reads.
    select
        changed_series.company,
        252 as bars_per_year,
        indicators.*
    from changed_series
    cross join lateral {{ indicators }}(changed_series.company, changed_series.from_at) as indicators

),

final as (

    select
        passes.symbol,
        passes.interval,
        passes.bar_at,
        passes.session_date,
        passes.segment,
        passes.company,
        passes.current_symbol,
        passes.open::numeric(38, 6) as open,
        passes.high::numeric(38, 6) as high,
        passes.low::numeric(38, 6) as low,
        passes.close::numeric(38, 6) as close,
        passes.volume::numeric(38, 0) as volume,
        passes.bar_vwap::numeric(38, 6) as bar_vwap,
        passes.is_final,
        passes.revision,
        passes.origin,
        passes.is_vendor_bar,
        passes.revised_at,
        {{ indicator_values(is_daily=true) }}
    from changed_days as passes
    {{ join_indicator_values(is_daily=true) }}

)

select * from final
{%- endmacro %}
