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

{#- The sources that stand after "*". -#}
{% macro last_resorts() -%}
    {%- set sources = var("source_priority") -%}
    {%- set after = sources[sources.index('*') + 1:] if '*' in sources else [] -%}
    array[{% for source in after %}'{{ source }}'{{ ', ' if not loop.last }}{% endfor %}]::text[]
{%- endmacro %}

{% macro source_priority() -%}
    array['{{ var("source_priority") | join("', '") }}']
{%- endmacro %}
