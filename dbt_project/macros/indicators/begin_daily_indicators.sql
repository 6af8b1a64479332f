{#-
  begin_indicators for the marts of daily indicators: a series is a company, through all its symbols. `prices` are the prices that are
  meant: raw, split_adjusted or total_return; volumes are adjusted for splits with both of the latter.
-#}
{% macro begin_daily_indicators(relation, source, indicators, prices) -%}
    {%- set price = '' if prices == 'raw' else prices ~ '_' -%}
    {%- set factor = {'raw': '1', 'split_adjusted': 'split_factor', 'total_return': 'total_return_factor'}[prices] -%}
    {%- set bars -%}
        select
            coalesce(current_symbol, symbol || ':gone') as company,
            symbol,
            interval,
            bar_at,
            session_date,
            {{ price }}open as open,
            {{ price }}high as high,
            {{ price }}low as low,
            {{ price }}close as close,
            {{ 'volume' if prices == 'raw' else 'split_adjusted_volume' }} as volume,
            (vwap * {{ factor }})::numeric(38, 6) as bar_vwap,
            current_symbol,
            segment,
            is_final,
            revision,
            origin,
            is_vendor_bar,
            revised_at
        from {{ source }}
        where {{ price }}close is not null
            and {{ price }}high is not null
            and {{ price }}low is not null
            and {{ 'volume' if prices == 'raw' else 'split_adjusted_volume' }} is not null
    {%- endset -%}
    {%- set passed = [
        ('symbol', 'text'),
        ('"interval"', 'text'),
        ('current_symbol', 'text'),
        ('segment', 'text'),
        ('is_final', 'boolean'),
        ('revision', 'bigint'),
        ('origin', 'text'),
        ('is_vendor_bar', 'boolean'),
        ('revised_at', 'timestamp with time zone'),
    ] -%}
    {%- set same_bars -%}
        (
            bars.current_symbol = series_company
            or bars.current_symbol is null
            and bars.symbol = case when series_company like '%:gone' then left(series_company, -5) end
        )
        and bars.session_date >= (from_at at time zone 'UTC')::date
    {%- endset -%}
    {{ begin_indicators(relation, indicators, [('company', 'text')], same_bars, bars, passed, is_daily=true) }}
{%- endmacro %}
