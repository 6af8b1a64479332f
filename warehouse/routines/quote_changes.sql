-- A minute under way is changed by every batch: see bar_storage.sql.
alter table lake.quotes_1m set (fillfactor = 60);

-- What is queued stands there once, as in staging.pending_sessions: the row that stands for the new one is held until the writer's
-- end, so that an evaluation which takes it off sees what he wrote.
create or replace function staging.pass_over_pending_quotes() returns trigger
language plpgsql
security definer
set search_path = pg_catalog
as $$
begin
    perform
    from staging.pending_quotes as pending
    where pending.source = new.source
        and pending.symbol = new.symbol
        and pending.from_at <= new.from_at
    limit 1
    for key share skip locked;
    if found then
        return null;
    end if;
    return new;
end
$$;

create or replace trigger pass_over_pending_quotes before insert on staging.pending_quotes
for each row execute function staging.pass_over_pending_quotes();

-- Queues for the rules that name quotes what they have to look at again, whoever writes: of a symbol the first minute whose bid or
-- ask is another one, of a feed that its newest minute is. Where no rule ever named quotes, nothing is done.
create or replace function lake.note_quote_changes() returns trigger
language plpgsql
as $$
begin
    if not exists (select from app.alert_rule_versions where has_quotes) then
        return null;
    end if;
    if tg_op = 'TRUNCATE' then
        insert into staging.pending_quotes (source, symbol, from_at) values ('*', '*', '-infinity');
    elsif tg_op = 'INSERT' then
        insert into staging.pending_quotes (source, symbol, from_at)
        select source, symbol, min(bar_at)
        from new_quotes
        group by source, symbol;
        -- Bars have ended that no quote had passed: all that end after the newest minute before, or after one before that.
        insert into staging.pending_quotes (source, symbol, from_at)
        select
            came.source,
            '*',
            coalesce(
                (
                    select max(known.bar_at)
                    from lake.quotes_1m as known
                    where known.source = came.source and known.bar_at < came.oldest_at
                ),
                '-infinity'
            )
        from (
            select source, min(bar_at) as oldest_at, max(bar_at) as newest_at
            from new_quotes
            group by source
        ) as came
        where not exists (
            select
            from lake.quotes_1m as known
            where known.source = came.source and known.bar_at > came.newest_at
        ) and (
            select count(*)
            from lake.quotes_1m as known
            where known.source = came.source and known.bar_at = came.newest_at
        ) = (
            select count(*)
            from new_quotes as inserted
            where inserted.source = came.source and inserted.bar_at = came.newest_at
        );
    elsif tg_op = 'UPDATE' then
        insert into staging.pending_quotes (source, symbol, from_at)
        select changed.source, changed.symbol, min(changed.bar_at)
        from new_quotes as changed
        inner join old_quotes as known
            on changed.source = known.source
            and changed.symbol = known.symbol
            and changed.bar_at = known.bar_at
        where (changed.bid, changed.ask) is distinct from (known.bid, known.ask)
        group by changed.source, changed.symbol;
    else
        insert into staging.pending_quotes (source, symbol, from_at)
        select source, symbol, min(bar_at)
        from old_quotes
        group by source, symbol;
        insert into staging.pending_quotes (source, symbol, from_at)
        select gone.source, '*', coalesce(left_over.newest_at, '-infinity')
        from (
            select source, max(bar_at) as newest_at
            from old_quotes
            group by source
        ) as gone
        cross join lateral (
            select max(known.bar_at) as newest_at
            from lake.quotes_1m as known
            where known.source = gone.source
        ) as left_over
        where left_over.newest_at is null or left_over.newest_at < gone.newest_at;
    end if;
    return null;
end
$$;

create or replace function lake.refuse_moved_quotes() returns trigger
language plpgsql
as $$
begin
    raise exception 'The quotes of a minute keep their source, symbol, bar_at, session_date and segment: delete them and insert the others.';
end
$$;

create or replace trigger note_inserted_quotes after insert on lake.quotes_1m
referencing new table as new_quotes
for each statement execute function lake.note_quote_changes();

create or replace trigger note_updated_quotes after update on lake.quotes_1m
referencing old table as old_quotes new table as new_quotes
for each statement execute function lake.note_quote_changes();

create or replace trigger note_deleted_quotes after delete on lake.quotes_1m
referencing old table as old_quotes
for each statement execute function lake.note_quote_changes();

create or replace trigger note_truncated_quotes after truncate on lake.quotes_1m
for each statement execute function lake.note_quote_changes();

create or replace trigger refuse_moved_quotes before update on lake.quotes_1m
for each row when (
    (old.source, old.symbol, old.bar_at, old.session_date, old.segment)
    is distinct from (new.source, new.symbol, new.bar_at, new.session_date, new.segment)
) execute function lake.refuse_moved_quotes();
