{#- A correlation, if its window is whole; else null. The last bit of a float may lie beyond 1. -#}
{% macro whole_correlation(correlation, sessions_used, sessions) -%}
    case
        when not ({{ is_whole(sessions_used, sessions) }}) then null
        when abs({{ correlation }}) > 1 then sign({{ correlation }})
        else {{ correlation }}
    end
{%- endmacro %}

{#- Whether four of five sessions of a window count, and two at least: of one alone there is no correlation. -#}
{% macro is_whole(sessions_used, sessions) -%}
    {{ sessions_used }} * 5 >= {{ sessions }} * 4 and {{ sessions_used }} >= 2
{%- endmacro %}
