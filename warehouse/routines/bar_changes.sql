-- Keeps lake.bar_sessions true to lake.bars_1m, whoever writes: the stream, a repair or a person, and queues for the marts which
-- sessions changed, from which minute on (staging.pending_sessions).
-- A session whose change_number differs from the one that a mart was built from has to be built again. Numbers come from
-- a sequence and never repeat, so equality is safe where a watermark is not: commits need not come in the order of times.
create sequence if not exists lake.bar_change_number;

create or replace function lake.note_bar_changes() returns trigger
language plpgsql
as $$
begin
    if tg_op = 'TRUNCATE' then
        update lake.bar_sessions
        set bar_count = 0, newest_bar_at = null, revised_at = null, change_number = nextval('lake.bar_change_number');
        insert into staging.pending_sessions (mart, symbol, session_date, is_whole)
        select mart, '*', '-infinity', true
        from unnest(array['intraday_ohlcv', 'int_daily_bars']) as mart;
        return null;
    end if;
    if tg_op = 'INSERT' then
        insert into lake.bar_sessions as known
            (source, symbol, session_date, bar_count, newest_bar_at, revised_at, change_number)
        select changed.*, nextval('lake.bar_change_number')
        from (
            select source, symbol, session_date, count(*), max(bar_at), max(revised_at)
            from new_bars
            group by source, symbol, session_date
            order by source, symbol, session_date
        ) as changed
        on conflict (source, symbol, session_date) do update set
            bar_count = known.bar_count + excluded.bar_count,
            newest_bar_at = greatest(known.newest_bar_at, excluded.newest_bar_at),
            revised_at = greatest(known.revised_at, excluded.revised_at),
            change_number = excluded.change_number;
    elsif tg_op = 'UPDATE' then
        -- A bar keeps its key and session: an update changes values only (a moved bar is refused by the row trigger).
        update lake.bar_sessions as known
        set
            revised_at = greatest(known.revised_at, changed.revised_at),
            change_number = nextval('lake.bar_change_number')
        from (
            select source, symbol, session_date, max(revised_at) as revised_at
            from new_bars
            group by source, symbol, session_date
            order by source, symbol, session_date
        ) as changed
        where known.source = changed.source
            and known.symbol = changed.symbol
            and known.session_date = changed.session_date;
    else
        update lake.bar_sessions as known
        set
            bar_count = known.bar_count - changed.bars,
            (newest_bar_at, revised_at) = (
                select max(bars.bar_at), max(bars.revised_at)
                from lake.bars_1m as bars
                where bars.source = known.source
                    and bars.symbol = known.symbol
                    and bars.session_date = known.session_date
            ),
            change_number = nextval('lake.bar_change_number')
        from (
            select source, symbol, session_date, count(*) as bars
            from old_bars
            group by source, symbol, session_date
            order by source, symbol, session_date
        ) as changed
        where known.source = changed.source
            and known.symbol = changed.symbol
            and known.session_date = changed.session_date;
    end if;
    if tg_op = 'DELETE' then
        insert into staging.pending_sessions (mart, symbol, session_date, is_whole, from_at)
        select marts.mart, changed.symbol, changed.session_date, false, case when marts.has_from_at then changed.from_at end
        from (
            select symbol, session_date, min(bar_at) as from_at
            from old_bars
            group by symbol, session_date
        ) as changed
        cross join (values ('intraday_ohlcv', true), ('int_daily_bars', false)) as marts (mart, has_from_at);
    else
        insert into staging.pending_sessions (mart, symbol, session_date, is_whole, from_at)
        select marts.mart, changed.symbol, changed.session_date, false, case when marts.has_from_at then changed.from_at end
        from (
            select symbol, session_date, min(bar_at) as from_at
            from new_bars
            group by symbol, session_date
        ) as changed
        cross join (values ('intraday_ohlcv', true), ('int_daily_bars', false)) as marts (mart, has_from_at);
    end if;
    return null;
end
$$;

create or replace function lake.refuse_moved_bar() returns trigger
language plpgsql
as $$
begin
    raise exception 'A 1-minute bar keeps its source, symbol, bar_at and session_date: delete it and insert the other.';
end
$$;

create or replace trigger note_inserted_bars after insert on lake.bars_1m
referencing new table as new_bars
for each statement execute function lake.note_bar_changes();

create or replace trigger note_updated_bars after update on lake.bars_1m
referencing new table as new_bars
for each statement execute function lake.note_bar_changes();

create or replace trigger note_deleted_bars after delete on lake.bars_1m
referencing old table as old_bars
for each statement execute function lake.note_bar_changes();

create or replace trigger note_truncated_bars after truncate on lake.bars_1m
for each statement execute function lake.note_bar_changes();

create or replace trigger refuse_moved_bar before update on lake.bars_1m
for each row when (
    (old.source, old.symbol, old.bar_at, old.session_date)
    is distinct from (new.source, new.symbol, new.bar_at, new.session_date)
) execute function lake.refuse_moved_bar();

-- Drawn after each repair of what the marts are made from: a repair is no batch, and coverage and halts have no such triggers.
create sequence if not exists lake.repair_number;
