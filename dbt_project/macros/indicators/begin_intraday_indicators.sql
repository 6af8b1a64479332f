{#- begin_indicators for intraday_analytics: a series is a symbol at an interval. -#}
{% macro begin_intraday_indicators(relation, source, indicators) -%}
    {%- set bars -%}
        select
            symbol,
            interval,
            bar_at,
            session_date,
            open,
            high,
            low,
            close,
            volume,
            vwap as bar_vwap,
            segment,
            is_final,
            revision,
            origin,
            is_vendor_bar,
            revised_at
        from {{ source }}
        where segment in ('{{ var("indicator_segments") | join("', '") }}')
            and close is not null
    {%- endset -%}
    {%- set passed = [
        ('segment', 'text'),
        ('is_final', 'boolean'),
        ('revision', 'bigint'),
        ('origin', 'text'),
        ('is_vendor_bar', 'boolean'),
        ('revised_at', 'timestamp with time zone'),
    ] -%}
    {{ begin_indicators(
        relation,
        indicators,
        [('symbol', 'text'), ('interval', 'text')],
        'bars.symbol = series_symbol and bars.interval = series_interval',
        bars,
        passed,
        is_daily=false,
    ) }}
{%- endmacro %}
