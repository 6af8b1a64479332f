{#-
  A digest of the SQL of this model and of every model above it, with the variables: when one of them changes, what was
  built by the old logic counts as not built, and the next run builds it again without a full refresh.
-#}
{% macro logic_version() -%}
    {%- if execute -%}
        {%- set texts = [] -%}
        {%- do collect_logic(model.unique_id, [], texts) -%}
        {{- local_md5((texts | join('\n')) ~ var('source_priority')) -}}
    {%- endif -%}
{%- endmacro %}

{% macro collect_logic(unique_id, seen, texts) -%}
    {%- if unique_id in graph.nodes and unique_id not in seen -%}
        {%- do seen.append(unique_id) -%}
        {%- do texts.append(graph.nodes[unique_id].raw_code) -%}
        {%- for parent in graph.nodes[unique_id].depends_on.nodes -%}
            {%- do collect_logic(parent, seen, texts) -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}
