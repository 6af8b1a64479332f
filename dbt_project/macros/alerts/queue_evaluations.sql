{#-
  Before a build of a mart of bars with indicators, and before it takes anything off: how far the stream and its tapes were when the
  bars that it is made of were built. Whatever was published, and ended, until then is in those bars. Where a tape moved on, the bars that ended since are queued for the rules, though nothing of them changed.
-#}
{% macro follow_tapes(relation, source) -%}
    {{ replace_offsets(
        relation,
        "select topic, partition, next_offset from staging.built_offsets where mart = '" ~ source.identifier ~ "'",
    ) }};
    create temporary table followed_tapes on commit drop as
    select
        reached.source,
        reached.tape_at,
        followed.tape_at as followed_tape_at
    from staging.built_tapes as reached
    left join staging.built_tapes as followed
        on followed.mart = '{{ relation.identifier }}'
        and reached.source = followed.source
    where reached.mart = '{{ source.identifier }}'
        and reached.tape_at is distinct from followed.tape_at;
    insert into app.pending_evaluations as pending (mart, series, interval, source, from_at)
    select
        '{{ relation.identifier }}',
        '*',
        '*',
        source,
        least(tape_at, coalesce(followed_tape_at, '-infinity'))
    from followed_tapes
    on conflict (mart, series, interval, source) do update set from_at = least(pending.from_at, excluded.from_at);
    insert into staging.built_tapes as built (mart, source, tape_at)
    select
        '{{ relation.identifier }}',
        source,
        tape_at
    from followed_tapes
    on conflict (mart, source) do update set tape_at = excluded.tape_at
{%- endmacro %}

{#- After a build of a mart of indicators, in its transaction: what changed in it is queued for the rules. -#}
{% macro queue_evaluations(relation, is_daily=false) -%}
    insert into app.pending_evaluations as pending (mart, series, interval, source, from_at)
    select
        '{{ relation.identifier }}',
        {{ 'company' if is_daily else 'symbol' }},
        {{ "'1d'" if is_daily else 'interval' }},
        '',
        from_at
    from changed_series
    order by 2, 3
    on conflict (mart, series, interval, source) do update set from_at = least(pending.from_at, excluded.from_at)
{%- endmacro %}
