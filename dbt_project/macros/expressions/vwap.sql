{#-
  notional / volume, rounded half up to six decimals, exactly: PostgreSQL's own division rounds to 16 digits first, and
  rounding twice can end one step too high. Null where the volume is 0.
-#}
{% macro vwap(notional, volume) -%}
    (div(2000000 * {{ notional }} + {{ volume }}, 2 * nullif({{ volume }}, 0)) / 1000000)::numeric(18, 6)
{%- endmacro %}
