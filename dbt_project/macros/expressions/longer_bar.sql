{#-
  The columns of a bar out of the minutes of its bucket (int_bars_1m_buckets as `alias`): first and last are those of the
  first and last minute that has a price; a minute without one still has volume.
-#}
{% macro longer_bar(alias) -%}
    (array_agg({{ alias }}.open order by {{ alias }}.bar_at) filter (where {{ alias }}.open is not null))[1] as open,
        max({{ alias }}.high) as high,
        min({{ alias }}.low) as low,
        (array_agg({{ alias }}.close order by {{ alias }}.bar_at desc) filter (where {{ alias }}.close is not null))[1] as close,
        sum({{ alias }}.volume)::bigint as volume,
        sum({{ alias }}.notional) as notional,
        sum({{ alias }}.trade_count)::bigint as trade_count,
        sum({{ alias }}.revision)::bigint as revision,
        max({{ alias }}.revised_at) as revised_at
{%- endmacro %}
