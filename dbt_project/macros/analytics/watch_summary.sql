{#-
  After a build of a table that sums days up: sees to it that it is built again where somebody else changes it, and notes by which
  logic it was built, as the comment of the trigger that does so.
-#}
{% macro watch_summary(relation, others='') -%}
    do $watch$
    declare
        logic constant text := {{ summary_logic(others) }};
    begin
        if not exists (
            select from pg_trigger where tgrelid = '{{ relation }}'::regclass and tgname = 'note_changed_summary'
        ) then
            create trigger note_changed_summary after insert or update or delete or truncate on {{ relation }}
            for each statement when (
                current_setting('tapehouse.is_building', true) is distinct from 'on'
            ) execute function staging.note_changed_summary();
        end if;
        if {{ built_logic(relation) }} is distinct from logic then
            execute format('comment on trigger note_changed_summary on {{ relation }} is %L', logic);
        end if;
    end
    $watch$
{%- endmacro %}

{#- By which logic a table was built. -#}
{% macro built_logic(relation) -%}
    (
        select obj_description(oid, 'pg_trigger')
        from pg_trigger
        where tgrelid = '{{ relation }}'::regclass
            and tgname = 'note_changed_summary'
    )
{%- endmacro %}

{#- The logic of now: the model, the views that it reads, and those of the indicators, of which the breadth is made. -#}
{% macro summary_logic(others='') -%}
    concat_ws(
        '/',
        {{ logic_version(others) }},
        (
            select md5(prosrc)
            from pg_proc
            where pronamespace = 'staging'::regnamespace
                and proname = 'split_adjusted_indicators'
        )
    )
{%- endmacro %}
