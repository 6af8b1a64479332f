-- A mart's rows bear the digest of what they were built from. Where anybody but dbt changes a row of a session, the rest of
-- it gets a digest that nothing has, and the next run of the models builds the session again. The trigger is on every mart
-- that is built session by session; dbt makes it with the table (macros/runtime/changes_by_others.sql).
create or replace function staging.note_changed_mart() returns trigger
language plpgsql
security definer -- who may change a mart need not have rights on all its rows
set search_path = pg_catalog
as $$
declare
    nothing constant uuid := '00000000-0000-0000-0000-000000000000';
begin
    execute format(
        'update %I.%I set built_from = $1 where built_from is distinct from $1 '
        'and (symbol = $2 and session_date = $3 or symbol = $4 and session_date = $5)',
        tg_table_schema, tg_table_name
    ) using nothing, old.symbol, old.session_date, new.symbol, new.session_date;
    return null;
end
$$;

-- Of a mart of indicators, where anybody but dbt changes a row: the session is queued, and with it all that follows of the symbol.
create or replace function staging.note_pending_session() returns trigger
language plpgsql
security definer
set search_path = pg_catalog
as $$
begin
    if tg_op = 'TRUNCATE' then
        insert into staging.pending_sessions (mart, symbol, session_date, is_whole) values (tg_table_name, '*', '-infinity', true);
        return null;
    end if;
    insert into staging.pending_sessions (mart, symbol, session_date, is_whole)
    select distinct tg_table_name, changed.symbol, changed.session_date, true
    from (values (old.symbol, old.session_date), (new.symbol, new.session_date)) as changed (symbol, session_date)
    where changed.symbol is not null;
    return null;
end
$$;

-- Of a table that sums days up, where anybody but dbt changes it: all of it is built again.
create or replace function staging.note_changed_summary() returns trigger
language plpgsql
security definer
set search_path = pg_catalog
as $$
begin
    insert into staging.pending_sessions (mart, symbol, session_date, is_whole) values (tg_table_name, '*', '-infinity', true);
    return null;
end
$$;
