-- Every mart that is built session by session has its changes queued, and from which bar on. Whoever writes bars never waits for
-- a build that takes rows off: so there is no key, and a row may be there more than once.
alter table staging.pending_sessions
    drop constraint if exists pending_sessions_pkey,
    add column if not exists from_at timestamp with time zone,
    add column if not exists last_session_date date;
create index if not exists pending_sessions_session on staging.pending_sessions (mart, symbol, session_date);
comment on table staging.pending_sessions is 'Sessions of a symbol that changed since a mart took them up; a session may stand there more than once.';
comment on column staging.pending_sessions.from_at is 'Nothing before this moment changed; null where that is not known.';
comment on column staging.pending_sessions.last_session_date is 'Last session that is meant, from session_date on; null means that one only, and for indicators of days all later ones.';

-- How far the tape of each source was when a mart was built: bars become final where a tape has passed the end of a segment since.
create table if not exists staging.built_tapes (
    mart text not null,
    source text not null,
    tape_at timestamp with time zone not null,
    primary key (mart, source)
);
comment on table staging.built_tapes is 'One row per mart and source of own bars.';
comment on column staging.built_tapes.mart is 'Mart that was built.';
comment on column staging.built_tapes.source is 'Source of the bars.';
comment on column staging.built_tapes.tape_at is 'How far the source had come, in event time, when the mart was built last.';
