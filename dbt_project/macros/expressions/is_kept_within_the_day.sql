{#-
  A condition: whether a row with `session_date` and `revised_at` is kept by the tier intraday, whose one row is `intraday_tier`
  with `kept_since_at`, null where nothing was said of the tier yet.
-#}
{% macro is_kept_within_the_day(rows) -%}
    (
            intraday_tier.kept_since_at is null
            or {{ rows }}.session_date >= (intraday_tier.kept_since_at at time zone 'UTC')::date
            or {{ rows }}.revised_at >= intraday_tier.kept_since_at
        )
{%- endmacro %}
