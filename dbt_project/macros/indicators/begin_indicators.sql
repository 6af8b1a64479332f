{#-
  Before a build of a mart of indicators, in its transaction: makes the function, finds out which series changed from when on,
  takes them off the queue, and removes what is to be built again. The table `changed_series` then says what the model has to
  build: the columns of `series`, and from_at. A series of which not all bars stay that seed its recursions is built from its beginning.

  The arguments are those of create_indicator_function. Of days a queued session stands for all later ones of its symbol too; of
  shorter bars it may say from when on there are changes: then bars that end later are built, and nothing is compared.
-#}
{% macro begin_indicators(relation, indicators, series, same_bars, bars, passed, is_daily) -%}
    {%- set names = series | map('first') | list -%}
    {%- if is_incremental() %}
    {{ drop_gone_columns(model) }};
    {%- endif %}
    {{ create_indicator_function(
        indicators,
        relation,
        series,
        same_bars,
        bars,
        passed,
        model.raw_code ~ (daily_indicators(indicators) if is_daily else '') ~ indicator_values(is_daily) ~ join_indicator_values(is_daily),
        is_daily,
    ) }};
    {{ take_pending(relation, false) }};
    {%- if not is_incremental() %}
    create temporary table changed_series on commit drop as
    select distinct
        {%- for name in names %}
        bars.{{ name }},
        {%- endfor %}
        '-infinity'::timestamp with time zone as from_at
    from (
        {{ bars }}
    ) as bars
    {%- else %}
    analyze taken_sessions;
    create temporary table changed_series on commit drop as
    with

    -- Of days one row a symbol: each stands for all later ones, and all of them together would meet those again and again.
    taken as (
        select
            symbol,
            {%- if is_daily %}
            min(session_date) as session_date,
            min(session_date) filter (where is_whole) as whole_from,
            null::timestamp with time zone as from_at
        from taken_sessions
        group by symbol
            {%- else %}
            session_date,
            min(session_date) filter (where is_whole) as whole_from,
            case when count(*) = count(from_at) and not bool_or(is_whole) then min(from_at) end as from_at
        from taken_sessions
        group by symbol, session_date
            {%- endif %}
    ),

    compared_sessions as (
        select
            symbol,
            session_date,
            whole_from
        from taken
        where from_at is null
    ),

    shown as (
        select
            bars.*,
            coalesce(bars.session_date >= taken.whole_from, false) as is_whole
        from compared_sessions as taken
        inner join (
            {{ bars }}
        ) as bars
            on taken.symbol = bars.symbol
            and bars.session_date {{ '>=' if is_daily else '=' }} taken.session_date
    ),

    built as (
        select built.*
        from compared_sessions as taken
        inner join {{ relation }} as built
            on taken.symbol = built.symbol
            and built.session_date {{ '>=' if is_daily else '=' }} taken.session_date
    ),

    changed as (
        select
            {%- for name in names %}
            coalesce(shown.{{ name }}, built.{{ name }}) as {{ name }},
            {%- endfor %}
            min(coalesce(shown.bar_at, built.bar_at)) as from_at
        from shown
        full join built
            on shown.bar_at = built.bar_at
            {%- for name in names %}
            and shown.{{ name }} = built.{{ name }}
            {%- endfor %}
        where
            coalesce(shown.is_whole, true)
            or (shown.session_date, shown.open, shown.high, shown.low, shown.close, shown.volume, shown.bar_vwap)
            is distinct from (built.session_date, built.open, built.high, built.low, built.close, built.volume, built.bar_vwap)
            {%- for name, type in passed %}
            or shown.{{ name }} is distinct from built.{{ name }}
            {%- endfor %}
        group by {{ range(1, names | length + 1) | join(', ') }}
        {%- if not is_daily %}
        union all
        -- Where it is known what changed, bars need not be compared.
        select
            taken.symbol,
            lengths.interval,
            least(shown.bar_at, built.bar_at)
        from taken
        cross join {{ intraday_lengths() }} as lengths (interval, length)
        left join lateral (
            select bars.bar_at
            from (
                {{ bars }}
            ) as bars
            where bars.symbol = taken.symbol
                and bars.interval = lengths.interval
                and bars.session_date = taken.session_date
                and bars.bar_at > taken.from_at - lengths.length
                and bars.bar_at < taken.session_date::timestamp at time zone 'UTC' + interval '2 days'
            order by bars.bar_at
            limit 1
        ) as shown on true
        left join lateral (
            select bars.bar_at
            from {{ relation }} as bars
            where bars.symbol = taken.symbol
                and bars.interval = lengths.interval
                and bars.session_date = taken.session_date
                and bars.bar_at > taken.from_at - lengths.length
                and bars.bar_at < taken.session_date::timestamp at time zone 'UTC' + interval '2 days'
            order by bars.bar_at
            limit 1
        ) as built on true
        where taken.from_at is not null
            and num_nonnulls(shown.bar_at, built.bar_at) > 0
        {%- endif %}
        union all
        select distinct
            {%- for name in names %}
            bars.{{ name }},
            {%- endfor %}
            '-infinity'::timestamp with time zone
        from (
            {{ bars }}
        ) as bars
        where exists (select from taken_sessions where symbol = '*')
    ),

    earliest as (
        select
            {{ names | join(', ') }},
            min(from_at) as from_at
        from changed
        group by {{ names | join(', ') }}
    )

    select
        {%- for name in names %}
        earliest.{{ name }},
        {%- endfor %}
        case when prior.bar_number >= {{ indicator_periods().seeded_after }} then earliest.from_at else '-infinity' end as from_at
    from earliest
    left join lateral (
        select built.bar_number
        from {{ relation }} as built
        where built.bar_at < earliest.from_at
            {%- for name in names %}
            and built.{{ name }} = earliest.{{ name }}
            {%- endfor %}
        order by built.bar_at desc, built.bar_number desc
        limit 1
    ) as prior on true;
    delete from {{ relation }}
    where exists (select from taken_sessions where symbol = '*');
    -- Series by series, by an index: where few bars go, nobody shall look through all.
    delete from {{ relation }}
    where ctid = any(array(
        select outdated.ctid
        from changed_series
        cross join lateral (
            select built.ctid
            from {{ relation }} as built
            where built.bar_at >= changed_series.from_at
                {%- for name in names %}
                and built.{{ name }} = changed_series.{{ name }}
                {%- endfor %}
            offset 0
        ) as outdated
    ))
    {%- endif %}
{%- endmacro %}
