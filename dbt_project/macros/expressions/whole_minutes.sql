{#-
  The minutes of a set of moments: those that lie in it whole, or, with `touched`, all that it touches. Spans of a set lie
  apart from each other, so each can be cut by itself.
-#}
{% macro whole_minutes(spans, touched=false) -%}
    {%- set up = "interval '59.999999 seconds'" -%}
    {%- set down = "interval '0 seconds'" -%}
    (
        select coalesce(range_agg(tstzrange(minutes.starts_at, minutes.ends_at)), '{}')
        from unnest({{ spans }}) as span
        cross join lateral (
            select
                date_trunc('minute', lower(span) + {{ down if touched else up }}) as starts_at,
                date_trunc('minute', upper(span) + {{ up if touched else down }}) as ends_at
        ) as minutes
        where minutes.starts_at < minutes.ends_at
    )
{%- endmacro %}
