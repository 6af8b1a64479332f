{#-
  Whether this run looks at what is queued alone, and not at everything: the connection says so (`-c tapehouse.look=touched`), so
  that nothing has to be parsed anew. Where all sessions are queued, or the relation is not there yet, everything is looked at.
-#}
{% macro looks_at_touched_alone(relation) -%}
    {%- if not execute or not is_incremental() -%}
        {{- return(false) -}}
    {%- endif -%}
    {%- set asked -%}
        select
            current_setting('tapehouse.look', true) is not distinct from 'touched'
            and not exists (select from staging.pending_sessions where mart = '{{ relation.identifier }}' and symbol = '*')
    {%- endset -%}
    {{- return(run_query(asked).rows[0][0]) -}}
{%- endmacro %}

{#- Waits until no other build of the relation goes on, and has others wait for the end of this one. -#}
{% macro wait_for_builds(relation) -%}
    select pg_advisory_xact_lock(hashtext('{{ relation.schema }}.{{ relation.identifier }}'))
{%- endmacro %}

{#-
  Notes how far the stream is with its topics, in the transaction of a build that reads the lake: before anything is taken off or
  read. So what was published until then is queued or was taken up, and the build has it; of what comes from now on it says nothing.
-#}
{% macro note_offsets(relation) -%}
    {{ wait_for_builds(relation) }};
    {{ replace_offsets(relation, "select topic, partition, next_offset from lake.stream_offsets") }}
{%- endmacro %}

{#- Replaces the offsets of a relation by those of a query; a topic that is gone, or was made anew, has no old ones. -#}
{% macro replace_offsets(relation, offsets) -%}
    delete from staging.built_offsets as built
    where built.mart = '{{ relation.identifier }}'
        and not exists (
            select from ({{ offsets }}) as reached
            where reached.topic = built.topic
                and reached.partition = built.partition
        );
    insert into staging.built_offsets as built (mart, topic, partition, next_offset)
    select
        '{{ relation.identifier }}',
        topic,
        partition,
        next_offset
    from ({{ offsets }}) as reached
    on conflict (mart, topic, partition) do update set next_offset = excluded.next_offset
    where built.next_offset <> excluded.next_offset
{%- endmacro %}

{#-
  Takes what is queued for the relation off, into the table `taken_sessions`, in the transaction of the build: what is queued from
  now on stays for the next one, and everything that was queued until now can be seen by the statements that follow. One build of
  a relation goes on at a time. Where a row for all sessions comes too late for this look, it stays.
-#}
{% macro take_pending(relation, touched_alone) -%}
    {{ wait_for_builds(relation) }};
    create temporary table taken_sessions (
        symbol text,
        session_date date,
        is_whole boolean,
        from_at timestamp with time zone,
        last_session_date date,
        is_changed boolean
    ) on commit drop;
    with taken as (
        delete from staging.pending_sessions
        where mart = '{{ relation.identifier }}'
            {%- if touched_alone %}
            and symbol <> '*'
            {%- endif %}
        returning symbol, session_date, is_whole, from_at, last_session_date
    )
    insert into taken_sessions
    select symbol, session_date, is_whole, from_at, last_session_date, true
    from taken
{%- endmacro %}

{#-
  Adds to `taken_sessions` the sessions in which bars may have become final, or may be so no more: those of sources whose tape has
  passed the end of a segment since the relation was built. Notes how far the tapes are before anything is read of them: what passes an end
  from now on is found by the next build.
-#}
{% macro take_finished_sessions(relation) -%}
    create temporary table tapes on commit drop as
    with recursive sources as (
        select min(source) as source
        from {{ ref('stg_bar_sessions') }}
        union all
        select (
            select min(later.source)
            from {{ ref('stg_bar_sessions') }} as later
            where later.source > sources.source
        )
        from sources
        where sources.source is not null
    ),
    reached as (
        select
            source,
            {{ tape_at('sources.source') }} as tape_at
        from sources
        where source is not null
    )
    select
        reached.source,
        reached.tape_at,
        coalesce(built.tape_at, '-infinity') as built_tape_at
    from reached
    left join staging.built_tapes as built
        on built.mart = '{{ relation.identifier }}'
        and reached.source = built.source
    where reached.tape_at is distinct from built.tape_at
        and reached.tape_at is not null;
    insert into taken_sessions (symbol, session_date, is_whole, is_changed)
    select distinct
        known.symbol,
        known.session_date,
        false,
        false
    from tapes
    inner join {{ ref('stg_sessions') }} as sessions
        on sessions.session_date >= (least(tapes.tape_at, tapes.built_tape_at) at time zone 'UTC')::date - 1
        and sessions.session_date <= (greatest(tapes.tape_at, tapes.built_tape_at) at time zone 'UTC')::date
        and exists (
            select
            from unnest(array[sessions.open_at, sessions.close_at, sessions.post_close_at]) as ends (ends_at)
            where ends.ends_at > least(tapes.tape_at, tapes.built_tape_at)
                and ends.ends_at <= greatest(tapes.tape_at, tapes.built_tape_at)
        )
    inner join {{ ref('stg_bar_sessions') }} as known
        on tapes.source = known.source
        and sessions.session_date = known.session_date;
    insert into staging.built_tapes as built (mart, source, tape_at)
    select '{{ relation.identifier }}', source, tape_at
    from tapes
    on conflict (mart, source) do update set tape_at = excluded.tape_at
{%- endmacro %}

{#-
  Adds to `taken_sessions` all sessions of the symbols that are made up no more, or are again: a session that was taken has now bars
  of a source that is no last resort, and `relation` shows none of them, or the other way round.
-#}
{% macro take_made_up_sessions(relation) -%}
    insert into taken_sessions (symbol, session_date, is_whole, is_changed)
    with of_last_resort as (
        select
            taken.symbol,
            taken.session_date
        from taken_sessions as taken
        where false
            {%- for source in ['stg_bar_sessions', 'stg_vendor_bar_sessions'] %}
            or exists (
                select from {{ ref(source) }} as made_up
                where made_up.source = any({{ last_resorts() }})
                    and made_up.symbol = taken.symbol
            )
            {%- endfor %}
    ),
    turned as (
        select distinct symbol
        from of_last_resort
        where (
            false
            {%- for source in ['stg_bar_sessions', 'stg_vendor_bar_sessions'] %}
            or exists (
                select from {{ ref(source) }} as others
                where others.symbol = of_last_resort.symbol
                    and others.session_date = of_last_resort.session_date
                    and others.source <> all({{ last_resorts() }})
                    and others.bar_count > 0
            )
            {%- endfor %}
        ) is distinct from coalesce(
            (
                select not {{ is_last_resort('built.origin') }}
                from {{ relation }} as built
                where built.symbol = of_last_resort.symbol
                    and built.session_date = of_last_resort.session_date
                limit 1
            ),
            false
        )
        {%- for source in ['stg_bar_sessions', 'stg_vendor_bar_sessions'] %}
        -- What is gone need not have been shown.
        or exists (
            select from {{ ref(source) }} as others
            where others.symbol = of_last_resort.symbol
                and others.session_date = of_last_resort.session_date
                and others.source <> all({{ last_resorts() }})
                and others.bar_count = 0
        )
        {%- endfor %}
    )
    {%- for source in ['stg_bar_sessions', 'stg_vendor_bar_sessions'] %}
    {{ 'union' if not loop.first }}
    select
        known.symbol,
        known.session_date,
        false,
        false
    from turned
    inner join {{ ref(source) }} as known
        on turned.symbol = known.symbol
    {%- endfor %}
{%- endmacro %}

{#- Brings the statistics of the sources up to date, unless the run looks at what was touched alone. -#}
{% macro analyze_sources() -%}
    do $analyze$
    begin
        if current_setting('tapehouse.look', true) is distinct from 'touched' then
            analyze lake.bars_1m, lake.bar_sessions, lake.feed_coverage, lake.vendor_bars, lake.vendor_bar_sessions,
                lake.corporate_actions, lake.latest_quotes, lake.quotes_1m, lake.sessions;
        end if;
    end
    $analyze$
{%- endmacro %}
