{#-
  Whether prices contradict a split: with d = |ln(observed / announced)|, both ratios of prices after to prices before, if d > ln 1.5,
  or if d > ln 1.1 and prices look more like no split at all. Nothing is doubted of which no ratio is known.
-#}
{% macro is_split_doubted(observed, announced) -%}
    {%- set unexplained = _move_beyond(observed, announced) -%}
    coalesce(
        {{ unexplained }} > ln(1.5) or {{ unexplained }} > ln(1.1) and {{ is_split_unseen(observed, announced) }},
        false
    )
{%- endmacro %}

{#- Whether prices look more like no split at all. -#}
{% macro is_split_unseen(observed, announced) -%}
    {{ _move_beyond(observed, announced) }} > abs(ln(nullif(greatest({{ observed }}, 0), 0)))
{%- endmacro %}

{% macro _move_beyond(observed, announced) -%}
    abs(ln(nullif(greatest({{ observed }}, 0), 0) / {{ announced }}))
{%- endmacro %}
