{#- Whether a day closed above its moving average of a period; null of a period that is not among the indicators. -#}
{% macro is_above_average(period) -%}
    {%- if period in var('indicators').sma -%}
        {{ is_beyond('days.close::double precision', 'days.sma_' ~ period) }}
    {%- else -%}
        null::boolean
    {%- endif %} as is_above_{{ period }}
{%- endmacro %}

{#- All that market_breadth computes with beyond its own text. -#}
{% macro breadth_logic() -%}
    {{ is_above_average(50) }}
    {{ is_above_average(200) }}
    {{ is_last_resort('origin') }}
{%- endmacro %}
