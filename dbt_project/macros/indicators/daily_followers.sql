{#- What takes the changes of historical_ohlcv up: a mart of indicators for each of the chosen prices, and what is made of adjusted days. -#}
{% macro daily_followers() -%}
    {%- set marts = {
        'split_adjusted': ['daily_analytics', 'market_breadth', 'int_robust_scores', 'int_correlations'],
        'raw': ['daily_analytics_raw'],
        'total_return': ['daily_analytics_total_return'],
    } -%}
    {%- set followers = [] -%}
    {%- for prices in var('daily_prices') -%}
        {%- do followers.extend(marts[prices]) -%}
    {%- endfor -%}
    {{- return(followers) -}}
{%- endmacro %}
