{#- Says, for the rest of the transaction, that it is dbt who changes rows; see warehouse/routines/mart_changes.sql. -#}
{% macro begin_building() -%}
    set local tapehouse.is_building = 'on'
{%- endmacro %}

{#- Sees to it that what others change in the relation is built again. Unlike a trigger for each statement it costs dbt no copy of the rows. -#}
{% macro watch_changes(relation) -%}
    do $watch$
    begin
        if not exists (
            select from pg_trigger where tgrelid = '{{ relation }}'::regclass and tgname = 'note_changed_mart'
        ) then
            create trigger note_changed_mart after insert or update or delete on {{ relation }}
            for each row when (
                current_setting('tapehouse.is_building', true) is distinct from 'on' and pg_trigger_depth() = 0
            ) execute function staging.note_changed_mart();
        end if;
    end
    $watch$
{%- endmacro %}

{#- The same of a mart of indicators: what others change is queued; see warehouse/routines/mart_changes.sql. -#}
{% macro watch_indicators(relation) -%}
    do $watch$
    begin
        if not exists (
            select from pg_trigger where tgrelid = '{{ relation }}'::regclass and tgname = 'note_pending_session'
        ) then
            create trigger note_pending_session after insert or update or delete on {{ relation }}
            for each row when (
                current_setting('tapehouse.is_building', true) is distinct from 'on' and pg_trigger_depth() = 0
            ) execute function staging.note_pending_session();
            create trigger note_truncated after truncate on {{ relation }}
            for each statement when (
                current_setting('tapehouse.is_building', true) is distinct from 'on'
            ) execute function staging.note_pending_session();
        end if;
    end
    $watch$
{%- endmacro %}
