{#-
  Views are replaced in place. dbt's own materialization drops the old view with everything that stands on it, so that
  each refresh would take marts.realtime_prices away for a moment, and a user's own views for good. Only where PostgreSQL
  cannot replace a view (a column was removed, renamed or got another type) it is dropped and made anew, in one statement.
  A column of a mart of indicators that only the old view read goes with it.
-#}
{% materialization view, adapter='postgres' %}
    {%- set existing = load_cached_relation(this) -%}
    {%- set target_relation = this.incorporate(type='view') -%}
    {%- set create_sql = get_create_view_as_sql(target_relation, sql) | replace('create view', 'create or replace view', 1) -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {% if existing is not none and not existing.is_view %}
        {% do adapter.drop_relation(existing) %}
    {% endif %}

    {% call statement('main') -%}
        do $materialization$
        begin
            execute $view$ {{ create_sql }} $view$;
        exception when invalid_table_definition then
            drop view {{ target_relation }} cascade;
            execute $view$ {{ create_sql }} $view$;
        end
        $materialization$
    {%- endcall %}

    {% for node in indicator_marts() if node.unique_id in model.depends_on.nodes %}
        {% call statement('drop_gone_columns') %}{{ drop_gone_columns(node) }}{% endcall %}
    {% endfor %}

    {% set grant_config = config.get('grants') %}
    {% do apply_grants(target_relation, grant_config, should_revoke=should_revoke(existing, full_refresh_mode=True)) %}
    {% do persist_docs(target_relation, model) %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}
