{#-
  A SQL expression: a digest of what this model computes with, `others` included: text that macros of its own give. When it
  changes, what was built by the old logic counts as not built, and the next run builds it again without a full refresh.

  The views above the model are read as they stand in the database, not as they are written in the project: where only
  this model is run after an edit, it does not claim the logic of a view that was not yet replaced.
-#}
{% macro logic_version(others='') -%}
    {%- if execute -%}
        {%- set views = [] -%}
        {%- do collect_views(model.unique_id, [], views) -%}
        (
            select md5(concat_ws(
                '/',
                '{{ local_md5(model.raw_code ~ longer_bar("minutes") ~ vwap("notional", "volume") ~ whole_minutes("spans") ~ adjusted_bar("days", "spans") ~ join_factors("spans") ~ others) }}'
                {%- for view in views | sort %},
                pg_get_viewdef(to_regclass('{{ view }}'))
                {%- endfor %}
            ))
        )
    {%- else -%}
        null
    {%- endif -%}
{%- endmacro %}

{% macro collect_views(unique_id, seen, views) -%}
    {%- if unique_id in graph.nodes and unique_id not in seen -%}
        {%- set node = graph.nodes[unique_id] -%}
        {%- do seen.append(unique_id) -%}
        {%- if node.config.materialized == 'view' -%}
            {%- do views.append(node.schema ~ '.' ~ node.alias) -%}
        {%- endif -%}
        {%- for parent in node.depends_on.nodes -%}
            {%- do collect_views(parent, seen, views) -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}
