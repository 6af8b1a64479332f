{#- The marts that are made of historical_ohlcv: one for each of the chosen prices. -#}
{% macro daily_followers() -%}
    {%- set marts = {'split_adjusted': 'daily_analytics', 'raw': 'daily_analytics_raw', 'total_return': 'daily_analytics_total_return'} -%}
    {%- set followers = [] -%}
    {%- for prices in var('daily_prices') -%}
        {%- do followers.append(marts[prices]) -%}
    {%- endfor -%}
    {{- return(followers) -}}
{%- endmacro %}
