{#-
  The columns of a mart of indicators that nothing computes any more, with what reads each, as a query: attname, reader (null if there is
  none), and whether the reader is a view of ours, which the build makes anew without the column.
-#}
{% macro gone_columns(node) -%}
    {%- set own_views = [] -%}
    {%- for view in graph.nodes.values() if view.config.materialized == 'view' and node.unique_id in view.depends_on.nodes -%}
        {%- do own_views.append("to_regclass('%s.%s')" % (view.schema, view.alias)) -%}
    {%- endfor -%}
    select
        columns.attname,
        coalesce(rules.ev_class::regclass::text, pg_describe_object(readers.classid, readers.objid, readers.objsubid)) as reader,
        coalesce(rules.ev_class = any(array[{{ own_views | join(', ') }}]::oid[]), false) as is_own
    from pg_attribute as columns
    left join pg_depend as readers
        on readers.refclassid = 'pg_class'::regclass
        and readers.refobjid = columns.attrelid
        and readers.refobjsubid = columns.attnum
        and readers.deptype = 'n'
    left join pg_rewrite as rules
        on readers.classid = 'pg_rewrite'::regclass
        and readers.objid = rules.oid
    where columns.attrelid = to_regclass('{{ node.schema }}.{{ node.alias }}')
        and columns.attnum > 0
        and not columns.attisdropped
        and columns.attname <> all(array['{{ node.columns | join("', '") }}'])
{%- endmacro %}

{#- The marts of indicators that are tables. -#}
{% macro indicator_marts() -%}
    {%- set marts = [] -%}
    {%- for node in graph.nodes.values() if node.fqn[1:3] == ['marts', 'indicators'] and node.config.materialized == 'incremental' -%}
        {%- do marts.append(node) -%}
    {%- endfor -%}
    {{- return(marts) -}}
{%- endmacro %}

{#- Drops the columns of a mart of indicators that nothing computes any more. One that is read stays, empty, until its reader is made anew. -#}
{% macro drop_gone_columns(node) -%}
    do $drop$
    declare
        gone name;
    begin
        for gone in
            select attname
            from ({{ gone_columns(node) }}) as columns
            group by attname
            having count(reader) = 0
        loop
            execute format('alter table {{ node.schema }}.{{ node.alias }} drop column %I', gone);
        end loop;
    end
    $drop$
{%- endmacro %}

{#- Before anything is built: a user's own view on a column that is gone would stop the build half-way. -#}
{% macro refuse_readers_of_gone_columns() -%}
    {%- if execute %}
    do $refuse$
    declare
        problem text;
    begin
        select string_agg(format('%s reads %s of %s', reader, columns, mart), '; ' order by reader, mart)
        into problem
        from (
            select
                mart,
                reader,
                string_agg(attname, ', ' order by attname) as columns
            from (
                {%- for node in indicator_marts() %}
                {{ 'union' if not loop.first }}
                select
                    '{{ node.schema }}.{{ node.alias }}' as mart,
                    attname,
                    reader
                from ({{ gone_columns(node) }}) as columns
                where reader is not null
                    and not is_own
                {%- endfor %}
            ) as found
            group by mart, reader
        ) as readers;
        if problem is not null then
            raise exception '%', 'Nothing was built. ' || problem || ': not among the indicators of dbt_project.yml any more. '
                || 'Drop what reads it, or make it without that; or name the period again and run python -m warehouse.dbt_indicators. '
                || 'Then build once more.';
        end if;
    end
    $refuse$
    {%- endif %}
{%- endmacro %}
