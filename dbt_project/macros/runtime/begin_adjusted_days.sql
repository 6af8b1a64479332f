{#-
  Before a build of historical_ohlcv, in its transaction: as begin_daily_bars. The table `adjustments` is what int_adjustments says
  now, and `changed_days` which days the model has to build, with `built_from`; what has no raw bar any more, and so no `built_from`, is
  only removed. A symbol whose adjustments became others has all of its days built: whether they did, its first day tells.
-#}
{% macro begin_adjusted_days(relation, days, adjustments, logic, followers) -%}
    {%- set touched_alone = looks_at_touched_alone(relation) -%}
    {{ take_pending(relation, touched_alone) }};
    {%- if not is_incremental() %}
    insert into staging.pending_sessions (mart, symbol, session_date, is_whole)
    select mart, '*', '-infinity', true
    from unnest(array['{{ followers | join("', '") }}']::text[]) as mart
    {%- else %}
    create temporary table adjustments on commit drop as
    select * from {{ adjustments }};
    analyze adjustments;
    create temporary table digests on commit drop as
    {{ adjustment_digests('adjustments') }};
    analyze digests;
    create temporary table logic on commit drop as
    select {{ logic }} as version;
    {%- if touched_alone %}
    insert into taken_sessions (symbol, session_date, is_whole, last_session_date, is_changed)
    with recursive firsts as (
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
        from firsts
        cross join lateral (
            select
                later.symbol,
                later.session_date,
                later.built_from
            from {{ relation }} as later
            where later.symbol > firsts.symbol
            order by later.symbol, later.session_date
            limit 1
        ) as next
    )
    select
        firsts.symbol,
        '-infinity',
        false,
        'infinity',
        false
    from firsts
    cross join logic
    left join {{ days }} as days
        on firsts.symbol = days.symbol
        and firsts.session_date = days.session_date
    left join digests
        on firsts.symbol = digests.symbol
    where firsts.built_from is distinct from {{ adjusted_from('days', 'digests', 'logic.version') }};
    analyze taken_sessions;
    create temporary table touched_days on commit drop as
    {{ days_taken([relation, days]) }};
    analyze touched_days;
    {%- endif %}
    create temporary table changed_days on commit drop as
    with

    known as (
        select
            days.symbol,
            days.session_date,
            {{ adjusted_from('days', 'digests', 'logic.version') }} as built_from
        from {{ days }} as days
        cross join logic
        left join digests
            on days.symbol = digests.symbol
        {%- if touched_alone %}
        where (days.symbol, days.session_date) in (select touched_days.symbol, touched_days.session_date from touched_days)
        {%- endif %}
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
        known.built_from
    from built
    full join known
        on built.symbol = known.symbol
        and built.session_date = known.session_date
    where built.built_from is distinct from known.built_from;
    analyze changed_days;
    {%- for follower in followers %}
    {{ queue_days('changed_days', follower) }};
    {%- endfor %}
    delete from {{ relation }} as built
    using changed_days
    where built.symbol = changed_days.symbol
        and built.session_date = changed_days.session_date
    {%- endif %}
{%- endmacro %}

{#- A query: of each symbol a digest of all that is said of it, so that days need not be looked up in its spans. -#}
{% macro adjustment_digests(adjustments) -%}
    select
        symbol,
        md5(string_agg(
            concat_ws('/', from_date, split_factor, total_return_factor, coalesce(current_symbol, '-')),
            '|' order by from_date
        )) as digest
    from {{ adjustments }}
    group by symbol
{%- endmacro %}

{#- All that a day of historical_ohlcv is built from, as a digest. -#}
{% macro adjusted_from(days, digests, logic) -%}
    md5(concat_ws('/', {{ days }}.built_from, {{ digests }}.digest, {{ logic }}))::uuid
{%- endmacro %}
