{#- The marts that are made of historical_ohlcv. -#}
{% macro daily_followers() -%}
    {{- return(['daily_analytics', 'daily_analytics_raw', 'daily_analytics_total_return']) -}}
{%- endmacro %}
