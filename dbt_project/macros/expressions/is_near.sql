{#-
  Whether another value is no further from the shown one than a tolerance, of which the shown one is so many: 1 of 10000 is a
  basis point. No value is near to none.
-#}
{% macro is_near(shown, other, tolerance, whole) -%}
    coalesce({{ whole }} * abs({{ other }}::numeric - {{ shown }}) <= {{ tolerance }} * {{ shown }}, false)
{%- endmacro %}
