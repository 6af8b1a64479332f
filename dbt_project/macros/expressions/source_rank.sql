{#- The rank of a source by the variable source_priority: 1 is preferred. -#}
{% macro source_rank(column) -%}
    coalesce(array_position({{ source_priority() }}, {{ column }}), array_position({{ source_priority() }}, '*'))
{%- endmacro %}

{#- Whether a source stands after "*": it is shown only of symbols that no other source has such bars of. -#}
{% macro is_last_resort(column) -%}
    coalesce(
        array_position({{ source_priority() }}, {{ column }}) > array_position({{ source_priority() }}, '*'),
        false
    )
{%- endmacro %}

{% macro source_priority() -%}
    array['{{ var("source_priority") | join("', '") }}']
{%- endmacro %}
