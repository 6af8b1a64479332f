{#-
  Whether an adjusted price is above another one by more than what floats and factors of 18 decimals blur: two closes that a split
  alone tells apart are the same.
-#}
{% macro is_beyond(price, other) -%}
    {{ price }} > {{ other }} * (1 + 1e-9)
{%- endmacro %}
