{#- Deletes the days of which there is no raw bar any more, and queues them for the marts `followers`, which are made of the relation. -#}
{% macro delete_days_without_bar(relation, followers) -%}
    with gone as (
        delete from {{ relation }} as built
        where not exists (
            select from {{ ref('int_daily_bars') }} as known
            where known.symbol = built.symbol
                and known.session_date = built.session_date
        )
        returning built.symbol, built.session_date
    )
    insert into staging.pending_sessions as pending
    select followers.mart, gone.symbol, min(gone.session_date), false
    from gone
    cross join unnest(array['{{ followers | join("', '") }}']) as followers (mart)
    group by followers.mart, gone.symbol
    on conflict do nothing
{%- endmacro %}

{#- Queues the days that this transaction built for the marts `followers`: of each symbol the first, which stands for all later ones. -#}
{% macro queue_built_days(relation, followers) -%}
    insert into staging.pending_sessions as pending
    {%- if is_incremental() %}
    select followers.mart, built.symbol, min(built.session_date), false
    from {{ relation }} as built
    cross join unnest(array['{{ followers | join("', '") }}']) as followers (mart)
    where built.xmin = pg_current_xact_id()::xid
    group by followers.mart, built.symbol
    {%- else %}
    select followers.mart, '*', '-infinity', true
    from unnest(array['{{ followers | join("', '") }}']) as followers (mart)
    {%- endif %}
    on conflict do nothing
{%- endmacro %}
