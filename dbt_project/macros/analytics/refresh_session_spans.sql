{#- Writes the first and last session of now into the open versions: they change with every session, and are no version of anything. -#}
{% macro refresh_session_spans(relation) -%}
    update {{ relation }} as versions
    set
        first_session_date = known.first_session_date,
        last_session_date = known.last_session_date
    from {{ ref('int_instruments') }} as known
    where versions.symbol = known.symbol
        and versions.valid_to is null
        and (versions.first_session_date, versions.last_session_date)
            is distinct from (known.first_session_date, known.last_session_date)
{%- endmacro %}
