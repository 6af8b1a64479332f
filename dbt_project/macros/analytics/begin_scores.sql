{#- begin_summary for int_robust_scores: of the sessions that are shown those stay that lie before every change. -#}
{% macro begin_scores(relation) -%}
    {%- set kept -%}
        built.session_date < changed_since.since
        and exists (
            select from {{ ref('int_finished_sessions') }} as finished
            where finished.recency <= {{ var('anomaly_sessions_shown') }}
                and finished.is_simulated = built.is_simulated
                and finished.session_date = built.session_date
        )
    {%- endset -%}
    {{ begin_summary(relation, kept, others=scores_logic()) }}
{%- endmacro %}

{#- All that int_robust_scores computes with beyond its own text. -#}
{% macro scores_logic() -%}
    {{ robust_statistics('values') }}
    {{ robust_columns('name', 'value') }}
    {{ var('anomaly_sessions') }}
{%- endmacro %}
