-- What a mart of indicators has yet to take up. Whoever changes a session of the bars that such a mart is made of, or a row of
-- the mart itself, writes it here in the same transaction; the mart's next build removes it in the transaction that takes it up.
create table if not exists staging.pending_sessions (
    mart text not null,
    symbol text not null,
    session_date date not null,
    is_whole boolean not null,
    primary key (mart, symbol, session_date)
);
comment on table staging.pending_sessions is 'One row per mart of indicators, symbol and session that changed since the mart took it up.';
comment on column staging.pending_sessions.mart is 'Mart that has to take it up.';
comment on column staging.pending_sessions.symbol is 'Ticker; * means every session of every symbol.';
comment on column staging.pending_sessions.session_date is 'Session of the exchange calendar.';
comment on column staging.pending_sessions.is_whole is 'Whether the rows of the mart itself were changed, so that none of them is to be trusted.';
