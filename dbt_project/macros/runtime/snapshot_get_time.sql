{#- Snapshots have moments, as every other table: dbt's own macro gives the time of day of whatever zone the server is in. -#}
{% macro postgres__snapshot_get_time() -%}
    now()
{%- endmacro %}
