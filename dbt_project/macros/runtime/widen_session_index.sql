{#-
  Replaces the index of symbol and session_date by one with the length of the bars as well, once. Its readers: questions to a
  whole session at one length, of every symbol (with the shorter one they read the minutes of the session, too, which are most
  of it), and what the shorter one was for, delete_outdated_sessions. It stands in the model's page and not in its text, by which
  sessions are known to be built: a change there would build all of them again.
-#}
{% macro widen_session_index(relation) -%}
    do $widen$
    declare
        narrow regclass;
    begin
        if to_regclass('{{ relation.schema }}.{{ relation.identifier }}_session') is null then
            create index {{ relation.identifier }}_session on {{ relation }} (symbol, session_date, interval);
        end if;
        for narrow in
            select index.indexrelid::regclass
            from pg_index as index
            where index.indrelid = '{{ relation }}'::regclass
                and not index.indisunique
                and (
                    select array_agg(attname::text order by position)
                    from unnest(index.indkey::int2[]) with ordinality as key (number, position)
                    inner join pg_attribute on attrelid = index.indrelid and attnum = number
                ) = array['symbol', 'session_date']
        loop
            execute format('drop index %s', narrow);
        end loop;
    end
    $widen$
{%- endmacro %}
