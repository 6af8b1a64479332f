{#-
  Before a build of int_daily_bars, in its transaction: as begin_intraday_bars, but a day is built whole always. The table
  `changed_days` then says what the model has to build: rows of int_daily_sessions with `built_from`; what is not known any more, of
  which there is no source, is only removed.
-#}
{% macro begin_daily_bars(relation, known_sessions, logic, follower) -%}
    {%- set touched_sessions -%}
        (
            {{ daily_sessions('touched_days') }}
        )
    {%- endset -%}
    {%- set take_finished = take_finished_sessions(relation) -%}
    {%- set take_made_up = take_made_up_days(relation) -%}
    {%- set days_of_vendors = "(select symbol, session_date from " ~ ref('stg_vendor_bars') ~ " where interval = '1d')" -%}
    {%- set own_sessions = ref('stg_bar_sessions') -%}
    {%- set touched_alone = looks_at_touched_alone(relation) -%}
    {{ take_pending(relation, touched_alone) }};
    {{ take_finished }};
    {%- if not is_incremental() %}
    insert into staging.pending_sessions (mart, symbol, session_date, is_whole) values ('{{ follower }}', '*', '-infinity', true)
    {%- else %}
    {%- if touched_alone %}
    {{ take_made_up }};
    analyze taken_sessions;
    create temporary table touched_days on commit drop as
    {{ days_taken([relation, days_of_vendors, own_sessions]) }};
    analyze touched_days;
    {%- endif %}
    create temporary table changed_days on commit drop as
    with

    logic as materialized (
        select {{ logic }} as version
    ),

    known as (
        select
            sessions.*,
            md5(concat_ws('/', sessions.fingerprint, logic.version))::uuid as built_from
        from {{ touched_sessions if touched_alone else known_sessions }} as sessions
        cross join logic
    ),

    built as (
        select
            symbol,
            session_date,
            built_from
        from {{ relation }}
        {%- if touched_alone %}
        where (symbol, session_date) in (select touched_days.symbol, touched_days.session_date from touched_days)
        {%- endif %}
    )

    select
        coalesce(built.symbol, known.symbol) as symbol,
        coalesce(built.session_date, known.session_date) as session_date,
        known.source,
        known.is_vendor_bar,
        known.tape_at,
        known.open_at,
        known.built_from
    from built
    full join known
        on built.symbol = known.symbol
        and built.session_date = known.session_date
    where built.built_from is distinct from known.built_from;
    analyze changed_days;
    {{ queue_days('changed_days', follower) }};
    delete from {{ relation }} as built
    using changed_days
    where built.symbol = changed_days.symbol
        and built.session_date = changed_days.session_date
    {%- endif %}
{%- endmacro %}

{#- Removes the days that came to nothing: no regular minute is left of them, and the model gave them a row without volume. -#}
{% macro delete_empty_days(relation) -%}
    delete from {{ relation }} as built
    {%- if is_incremental() %}
    using changed_days
    where built.volume is null
        and built.symbol = changed_days.symbol
        and built.session_date = changed_days.session_date
    {%- else %}
    where built.volume is null
    {%- endif %}
{%- endmacro %}

{#- Queues days for a mart: of each symbol the span that they lie in, so that years of them are one row. -#}
{% macro queue_days(days, follower) -%}
    insert into staging.pending_sessions (mart, symbol, session_date, is_whole, last_session_date)
    select
        '{{ follower }}',
        symbol,
        min(session_date),
        false,
        nullif(max(session_date), min(session_date))
    from {{ days }}
    group by symbol
{%- endmacro %}

{#- The days that `taken_sessions` means: those that it names, and of a span those that one of the relations has. -#}
{% macro days_taken(relations) -%}
    select
        symbol,
        session_date
    from taken_sessions
    where last_session_date is null
    {%- for relation in relations %}
    union
    select
        days.symbol,
        days.session_date
    from taken_sessions as taken
    inner join {{ relation }} as days
        on taken.symbol = days.symbol
        and days.session_date between taken.session_date and taken.last_session_date
    {%- endfor %}
{%- endmacro %}

{#-
  Adds to `taken_sessions` all days of the symbols that are made up no more, or are again: other sources have now bars of the symbol, of
  whichever length, and `relation` shows made-up days of it; or none has, and it shows none.
-#}
{% macro take_made_up_days(relation) -%}
    insert into taken_sessions (symbol, session_date, is_whole, last_session_date, is_changed)
    with of_last_resort as (
        select distinct taken.symbol
        from taken_sessions as taken
        where false
            {%- for source in ['stg_bar_sessions', 'stg_vendor_bars'] %}
            or exists (
                select from {{ ref(source) }} as made_up
                where made_up.source = any({{ last_resorts() }})
                    and made_up.symbol = taken.symbol
            )
            {%- endfor %}
    )
    select
        symbol,
        '-infinity',
        false,
        'infinity',
        false
    from of_last_resort
    where (
        false
        {%- for source in ['stg_bar_sessions', 'stg_vendor_bars'] %}
        or exists (
            select from {{ ref(source) }} as others
            where others.symbol = of_last_resort.symbol
                and others.source <> all({{ last_resorts() }})
                {%- if source == 'stg_bar_sessions' %}
                and others.bar_count > 0
                {%- endif %}
        )
        {%- endfor %}
    ) = exists (
        select from {{ relation }} as built
        where built.symbol = of_last_resort.symbol
            and {{ is_last_resort('built.origin') }}
    )
{%- endmacro %}
