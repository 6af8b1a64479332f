{#- How many sessions anomalies and correlations look at, and the one before them. -#}
{% macro moves_sessions() -%}
    {{ [var('anomaly_sessions_shown') + var('anomaly_sessions'), var('correlation_sessions')] | max + 1 }}
{%- endmacro %}
