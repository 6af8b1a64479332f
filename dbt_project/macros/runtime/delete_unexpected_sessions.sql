{#- Deletes the sessions in which no bar is expected any more: someone deleted bars in the lake, so that a symbol begins later or ends earlier. -#}
{% macro delete_unexpected_sessions(relation) -%}
    delete from {{ relation }} as built
    where not exists (
        select from {{ ref('int_expected_sessions') }} as expected
        where expected.source = built.source
            and expected.symbol = built.symbol
            and expected.session_date = built.session_date
    )
{%- endmacro %}
