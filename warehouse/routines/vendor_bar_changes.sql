-- Keeps lake.vendor_bar_sessions true to lake.vendor_bars, whoever writes, as bar_changes.sql does for 1-minute bars: by it the
-- marts see which sessions changed without a look at the bars. What changed is queued as there. A daily bar is a session by itself and needs no row.
create or replace function lake.note_vendor_bar_changes() returns trigger
language plpgsql
as $$
begin
    if tg_op = 'TRUNCATE' then
        update lake.vendor_bar_sessions
        set bar_count = 0, revised_at = null, change_number = nextval('lake.bar_change_number');
        insert into staging.pending_sessions (mart, symbol, session_date, is_whole)
        select mart, '*', '-infinity', true
        from unnest(array['intraday_ohlcv', 'int_daily_bars']) as mart;
        return null;
    end if;
    if tg_op = 'INSERT' then
        insert into lake.vendor_bar_sessions as known
            (source, symbol, interval, session_date, bar_count, revised_at, change_number)
        select changed.*, nextval('lake.bar_change_number')
        from (
            select source, symbol, interval, session_date, count(*), max(ingested_at)
            from new_bars
            where interval <> '1d'
            group by source, symbol, interval, session_date
            order by source, symbol, interval, session_date
        ) as changed
        on conflict (source, symbol, interval, session_date) do update set
            bar_count = known.bar_count + excluded.bar_count,
            revised_at = greatest(known.revised_at, excluded.revised_at),
            change_number = excluded.change_number;
    elsif tg_op = 'UPDATE' then
        -- A bar keeps its key and session: an update changes values only (a moved bar is refused by the row trigger).
        update lake.vendor_bar_sessions as known
        set
            revised_at = greatest(known.revised_at, changed.revised_at),
            change_number = nextval('lake.bar_change_number')
        from (
            select source, symbol, interval, session_date, max(ingested_at) as revised_at
            from new_bars
            where interval <> '1d'
            group by source, symbol, interval, session_date
            order by source, symbol, interval, session_date
        ) as changed
        where known.source = changed.source
            and known.symbol = changed.symbol
            and known.interval = changed.interval
            and known.session_date = changed.session_date;
    else
        update lake.vendor_bar_sessions as known
        set
            bar_count = known.bar_count - changed.bars,
            revised_at = (
                select max(bars.ingested_at)
                from lake.vendor_bars as bars
                where bars.source = known.source
                    and bars.symbol = known.symbol
                    and bars.interval = known.interval
                    and bars.session_date = known.session_date
            ),
            change_number = nextval('lake.bar_change_number')
        from (
            select source, symbol, interval, session_date, count(*) as bars
            from old_bars
            where interval <> '1d'
            group by source, symbol, interval, session_date
            order by source, symbol, interval, session_date
        ) as changed
        where known.source = changed.source
            and known.symbol = changed.symbol
            and known.interval = changed.interval
            and known.session_date = changed.session_date;
    end if;
    -- Of days a span of sessions is queued: a backfill brings years of them. Shorter bars matter to days, too: no made-up
    -- ones are shown beside them.
    if tg_op = 'DELETE' then
        insert into staging.pending_sessions (mart, symbol, session_date, is_whole, last_session_date)
        select marts.mart, changed.symbol, changed.session_date, false, null::date
        from (
            select distinct symbol, session_date
            from old_bars
            where interval <> '1d'
        ) as changed
        cross join (values ('intraday_ohlcv'), ('int_daily_bars')) as marts (mart)
        union all
        select 'int_daily_bars', symbol, min(session_date), false, nullif(max(session_date), min(session_date))
        from old_bars
        where interval = '1d'
        group by symbol;
    else
        insert into staging.pending_sessions (mart, symbol, session_date, is_whole, last_session_date)
        select marts.mart, changed.symbol, changed.session_date, false, null::date
        from (
            select distinct symbol, session_date
            from new_bars
            where interval <> '1d'
        ) as changed
        cross join (values ('intraday_ohlcv'), ('int_daily_bars')) as marts (mart)
        union all
        select 'int_daily_bars', symbol, min(session_date), false, nullif(max(session_date), min(session_date))
        from new_bars
        where interval = '1d'
        group by symbol;
    end if;
    return null;
end
$$;

create or replace function lake.refuse_moved_vendor_bar() returns trigger
language plpgsql
as $$
begin
    raise exception 'A vendor''s bar keeps its source, symbol, interval, bar_at and session_date: delete it and insert the other.';
end
$$;

create or replace trigger note_inserted_vendor_bars after insert on lake.vendor_bars
referencing new table as new_bars
for each statement execute function lake.note_vendor_bar_changes();

create or replace trigger note_updated_vendor_bars after update on lake.vendor_bars
referencing new table as new_bars
for each statement execute function lake.note_vendor_bar_changes();

create or replace trigger note_deleted_vendor_bars after delete on lake.vendor_bars
referencing old table as old_bars
for each statement execute function lake.note_vendor_bar_changes();

create or replace trigger note_truncated_vendor_bars after truncate on lake.vendor_bars
for each statement execute function lake.note_vendor_bar_changes();

create or replace trigger refuse_moved_vendor_bar before update on lake.vendor_bars
for each row when (
    (old.source, old.symbol, old.interval, old.bar_at, old.session_date)
    is distinct from (new.source, new.symbol, new.interval, new.bar_at, new.session_date)
) execute function lake.refuse_moved_vendor_bar();

-- Of a database that had vendor bars before it had this table.
insert into lake.vendor_bar_sessions (source, symbol, interval, session_date, bar_count, revised_at, change_number)
select counted.*, nextval('lake.bar_change_number')
from (
    select source, symbol, interval, session_date, count(*), max(ingested_at)
    from lake.vendor_bars
    where interval <> '1d' and not exists (select from lake.vendor_bar_sessions)
    group by source, symbol, interval, session_date
) as counted;
