-- What is queued for a mart stands there once, unless a build is taking it off: then it is queued anew, and the writer does not
-- wait. The row that stands for the new one is held until the writer's end, so that a build which takes it off sees what he wrote.
create or replace function staging.pass_over_pending_session() returns trigger
language plpgsql
security definer
set search_path = pg_catalog
as $$
begin
    perform
    from staging.pending_sessions as pending
    where pending.mart = new.mart
        and pending.symbol = new.symbol
        and pending.session_date = new.session_date
        and pending.last_session_date is not distinct from new.last_session_date
        and (pending.from_at is null or pending.from_at <= new.from_at)
        and pending.is_whole >= new.is_whole
    limit 1
    for key share skip locked;
    if found then
        return null;
    end if;
    return new;
end
$$;

create or replace trigger pass_over_pending_session before insert on staging.pending_sessions
for each row execute function staging.pass_over_pending_session();

-- Beside a vendor's bars it matters whether a feed covered a whole segment: where that becomes another, the session is queued.
-- Heartbeats come all the time, and of hardly any it does.
create or replace function lake.note_coverage() returns trigger
language plpgsql
as $$
begin
    insert into staging.pending_sessions (mart, symbol, session_date, is_whole)
    select
        'intraday_ohlcv',
        coalesce(new.symbol, old.symbol),
        sessions.session_date,
        false
    from lake.sessions
    where sessions.session_date in (old.session_date, new.session_date)
        and (
            coalesce(new.covered, '{}') @> tstzrange(sessions.pre_open_at, sessions.open_at),
            coalesce(new.covered, '{}') @> tstzrange(sessions.open_at, sessions.close_at),
            coalesce(new.covered, '{}') @> tstzrange(sessions.close_at, sessions.post_close_at)
        ) is distinct from (
            coalesce(old.covered, '{}') @> tstzrange(sessions.pre_open_at, sessions.open_at),
            coalesce(old.covered, '{}') @> tstzrange(sessions.open_at, sessions.close_at),
            coalesce(old.covered, '{}') @> tstzrange(sessions.close_at, sessions.post_close_at)
        );
    return null;
end
$$;

create or replace trigger note_coverage after insert or update or delete on lake.feed_coverage
for each row execute function lake.note_coverage();

-- An action may change the adjusted prices of all days of its symbol.
create or replace function lake.note_actions() returns trigger
language plpgsql
as $$
begin
    insert into staging.pending_sessions (mart, symbol, session_date, is_whole, last_session_date)
    select distinct 'historical_ohlcv', symbol, '-infinity'::date, false, 'infinity'::date
    from changed_actions;
    return null;
end
$$;

create or replace trigger note_inserted_actions after insert on lake.corporate_actions
referencing new table as changed_actions
for each statement execute function lake.note_actions();

create or replace trigger note_changed_actions after update on lake.corporate_actions
referencing new table as changed_actions
for each statement execute function lake.note_actions();

create or replace trigger note_actions_before_change after update on lake.corporate_actions
referencing old table as changed_actions
for each statement execute function lake.note_actions();

create or replace trigger note_deleted_actions after delete on lake.corporate_actions
referencing old table as changed_actions
for each statement execute function lake.note_actions();
