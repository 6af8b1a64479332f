{#- begin_summary for int_correlations: the pairs stay while theirs is the newest finished session, and nothing of it or before it changed. -#}
{% macro begin_correlations(relation) -%}
    {%- set kept -%}
        built.session_date < changed_since.since
        and exists (
            select from {{ ref('int_finished_sessions') }} as finished
            where finished.recency = 1
                and finished.is_simulated = built.is_simulated
                and finished.session_date = built.session_date
        )
    {%- endset -%}
    {{ begin_summary(relation, kept, others=correlations_logic()) }}
{%- endmacro %}

{#- All that int_correlations computes with beyond its own text. -#}
{% macro correlations_logic() -%}
    {{ whole_correlation('correlation', 'sessions_used', 'sessions') }}
    {{ is_whole('sessions_used', 'sessions') }}
    {{ var('correlation_sessions') }}
{%- endmacro %}
