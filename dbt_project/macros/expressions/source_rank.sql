{#- The rank of a source by the variable source_priority: 1 is preferred. -#}
{% macro source_rank(column) -%}
    {%- set priority -%}
        array['{{ var("source_priority") | join("', '") }}']
    {%- endset -%}
    coalesce(array_position({{ priority }}, {{ column }}), array_position({{ priority }}, '*'))
{%- endmacro %}
