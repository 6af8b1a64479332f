{#- Whether a day closed above its moving average of a period; null of a period that is not among the indicators. -#}
{% macro is_above_average(period) -%}
    {%- if period in var('indicators').sma -%}
        {{ is_beyond('days.close::double precision', 'days.sma_' ~ period) }}
    {%- else -%}
        null::boolean
    {%- endif %} as is_above_{{ period }}
{%- endmacro %}

{#- Of how many symbols that is known; null of a period that is not among the indicators: nobody counted. -#}
{% macro count_of_compared(period) -%}
    {{ 'count(is_above_%s)' % period if period in var('indicators').sma else 'null::bigint' }} as symbols_{{ period }}
{%- endmacro %}

{#- All that market_breadth computes with beyond its own text. -#}
{% macro breadth_logic() -%}
    {{ is_above_average(50) }}
    {{ is_above_average(200) }}
    {{ count_of_compared(50) }}
    {{ count_of_compared(200) }}
    {{ is_last_resort('origin') }}
{%- endmacro %}
