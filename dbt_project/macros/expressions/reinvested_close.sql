{#-
  The close of the bar before in the shares of a bar, dividends reinvested, as a double. Where the factor is the same it is the close
  itself: a quotient of equal factors would not be exactly 1.
-#}
{% macro reinvested_close(close, factor_before, factor) -%}
    case
        when {{ factor }} = {{ factor_before }} then {{ close }}::double precision
        else {{ close }}::double precision * {{ factor_before }} / nullif({{ factor }}, 0)
    end
{%- endmacro %}
