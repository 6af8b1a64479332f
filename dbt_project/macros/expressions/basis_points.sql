{#- By how many basis points `other` is above `shown`, which is above 0: two decimals, half rounded away from zero, exactly. -#}
{% macro basis_points(shown, other) -%}
    (
        sign({{ other }} - {{ shown }})
        * div(2000000 * abs({{ other }} - {{ shown }}) + {{ shown }}, 2 * {{ shown }})
        / 100
    )::numeric(38, 2)
{%- endmacro %}
