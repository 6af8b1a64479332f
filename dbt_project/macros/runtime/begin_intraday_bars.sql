{#-
  Before a build of intraday_ohlcv, in its transaction: takes what is queued off, finds out which sessions changed, from which
  moment on, removes what is to be built again, and queues it for the mart `follower`. The table `changed_sessions` then says what the
  model has to build: rows of int_kept_sessions with `built_from`, and `from_at`, before which nothing changed.

  A look at everything compares what each session was built from with what is known of it; a look at what was touched does so of
  the sessions that are queued, and of those that follow from them. Either way what is queued is built, whatever was compared: the
  changes of own minutes are known from the queue alone. From `from_at` on are built the sessions that have own bars alone, and
  whose rows were built from all that is the same still; others whole.
-#}
{% macro begin_intraday_bars(relation, known_sessions, logic, follower) -%}
    {%- set touched_sessions -%}
        (
            {{ kept_sessions('(' ~ intraday_sessions('taken_sessions') ~ ')') }}
        )
    {%- endset -%}
    {%- set take_finished = take_finished_sessions(relation) -%}
    {%- set take_made_up = take_made_up_sessions(relation) -%}
    {%- set touched_alone = looks_at_touched_alone(relation) -%}
    {{ note_offsets(relation) }};
    {{ take_pending(relation, touched_alone) }};
    {{ take_finished }};
    {%- if not is_incremental() %}
    insert into staging.pending_sessions (mart, symbol, session_date, is_whole) values ('{{ follower }}', '*', '-infinity', true)
    {%- else %}
    {%- if touched_alone %}
    {{ take_made_up }};
    {%- endif %}
    analyze taken_sessions;
    create temporary table changed_sessions on commit drop as
    with recursive
    {% if touched_alone %}
    built as (
        select
            taken.symbol,
            taken.session_date,
            bars.built_from
        from (
            select distinct
                symbol,
                session_date
            from taken_sessions
        ) as taken
        cross join lateral (
            select built_from
            from {{ relation }} as bars
            where bars.symbol = taken.symbol
                and bars.session_date = taken.session_date
            limit 1
        ) as bars
    ),
    {% else %}
    built as (
        (
            select
                symbol,
                session_date,
                built_from
            from {{ relation }}
            order by symbol, session_date
            limit 1
        )
        union all
        select
            next.symbol,
            next.session_date,
            next.built_from
        from built
        cross join lateral (
            select
                bars.symbol,
                bars.session_date,
                bars.built_from
            from {{ relation }} as bars
            where (bars.symbol, bars.session_date) > (built.symbol, built.session_date)
            order by bars.symbol, bars.session_date
            limit 1
        ) as next
    ),
    {% endif %}
    taken as (
        select
            symbol,
            session_date,
            bool_or(is_changed) as is_changed,
            case when count(*) filter (where is_changed) = count(from_at) then min(from_at) end as from_at
        from taken_sessions
        group by symbol, session_date
    ),
    everything as (
        -- The lake was emptied: nothing of what is there is known to be still so.
        select exists (select from taken_sessions where symbol = '*') as is_changed
    ),
    logic as materialized (
        select {{ logic }} as version
    ),
    known as (
        select
            sessions.*,
            md5(concat_ws('/', sessions.fingerprint, logic.version))::uuid as built_from
        from {{ touched_sessions if touched_alone else known_sessions }} as sessions
        cross join logic
    )
    select
        coalesce(built.symbol, known.symbol) as symbol,
        coalesce(built.session_date, known.session_date) as session_date,
        known.own_source,
        known.tape_at,
        known.has_whole_pre,
        known.has_whole_regular,
        known.has_whole_post,
        known.is_last_resort,
        known.built_from,
        case
            when known.vendor_count = 0 and known.built_from = built.built_from and not everything.is_changed
                then taken.from_at
        end as from_at
    from built
    full join known
        on built.symbol = known.symbol
        and built.session_date = known.session_date
    cross join everything
    left join taken
        on taken.symbol = coalesce(built.symbol, known.symbol)
        and taken.session_date = coalesce(built.session_date, known.session_date)
    where built.built_from is distinct from known.built_from
        or taken.is_changed
        or everything.is_changed;
    analyze changed_sessions;
    insert into staging.pending_sessions (mart, symbol, session_date, is_whole, from_at)
    select '{{ follower }}', symbol, session_date, false, from_at
    from changed_sessions;
    delete from {{ relation }} as bars
    using changed_sessions
    where changed_sessions.from_at is null
        and bars.symbol = changed_sessions.symbol
        and bars.session_date = changed_sessions.session_date;
    -- Session by session, by an index: where few bars go, nobody shall look through all.
    delete from {{ relation }}
    where ctid = any(array(
        select outdated.ctid
        from changed_sessions
        cross join {{ intraday_lengths() }} as lengths (interval, length)
        cross join lateral (
            select built.ctid
            from {{ relation }} as built
            where built.symbol = changed_sessions.symbol
                and built.interval = lengths.interval
                and built.session_date = changed_sessions.session_date
                and built.bar_at > changed_sessions.from_at - lengths.length
                and built.bar_at < changed_sessions.session_date::timestamp at time zone 'UTC' + interval '2 days'
            offset 0
        ) as outdated
        where changed_sessions.from_at is not null
    ))
    {%- endif %}
{%- endmacro %}
