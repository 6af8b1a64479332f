{#- How many minutes a set of whole minutes has. -#}
{% macro count_of_minutes(spans) -%}
    (
        select coalesce(sum(extract(epoch from upper(span) - lower(span)) / 60), 0)::bigint
        from unnest({{ spans }}) as span
    )
{%- endmacro %}
