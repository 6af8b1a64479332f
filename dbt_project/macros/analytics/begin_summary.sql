{#-
  Before a build of a table that sums days of many symbols up, in its transaction. Takes what historical_ohlcv queued for the table
  and deletes the rows of which `kept`, a condition on `built`, is false; the model then builds what has no row. The temporary table
  `changed_since` has one row: `since`, the first session of which days changed, infinity if none did, and -infinity if all has to be
  built again: the logic is another one (`others`: what the model computes with beyond its own text), or somebody else changed the table.

  A second build waits until the first is done. Where the table is made of the mart `follows`, which takes the same queue up, nothing is
  taken before that mart is up to date.
-#}
{% macro begin_summary(relation, kept, follows=none, others='') -%}
    {%- if is_incremental() %}
    lock table {{ relation }} in share row exclusive mode;
    {%- endif %}
    create temporary table changed_since on commit drop as
    with taken as (
        delete from staging.pending_sessions as pending
        where pending.mart = '{{ relation.identifier }}'
        {%- if follows %}
            and not exists (select from staging.pending_sessions as others where others.mart = '{{ follows }}')
        {%- endif %}
        returning pending.session_date
    )
    select
        {%- if is_incremental() %}
        case
            when {{ built_logic(relation) }} is not distinct from {{ summary_logic(others) }}
                then coalesce(min(taken.session_date), 'infinity')
            else '-infinity'
        end as since
        {%- else %}
        '-infinity'::date as since
        {%- endif %}
    from taken;
    {%- if is_incremental() %}
    delete from {{ relation }} as built
    using changed_since
    where not ({{ kept }})
    {%- endif %}
{%- endmacro %}
