-- Rules that name quotes look at bars again whose bid or ask changed: lake.quotes_1m queues that for them, in the transaction that
-- changes it. Whoever writes quotes never waits for an evaluation that takes rows off: so there is no key, and a row may be there
-- more than once.
create table if not exists staging.pending_quotes (
    source text not null,
    symbol text not null,
    from_at timestamp with time zone not null
);
create index if not exists pending_quotes_symbol on staging.pending_quotes (source, symbol);
comment on table staging.pending_quotes is 'Minutes whose quotes changed since the rules that name quotes looked at them; a symbol may stand there more than once.';
comment on column staging.pending_quotes.source is 'Feed that the quotes came from; * means every one.';
comment on column staging.pending_quotes.symbol is 'Ticker; * means that the quotes of the feed went on to another minute.';
comment on column staging.pending_quotes.from_at is 'First minute that changed; of a feed a minute that its quotes had reached before.';

do $$
begin
    if to_regclass('app.alert_rule_versions') is not null then
        -- Until now no rule could name quotes.
        alter table app.alert_rule_versions add column if not exists has_quotes boolean not null default false;
        alter table app.alert_rule_versions alter column has_quotes drop default;
    end if;
end
$$;
