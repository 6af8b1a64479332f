{#- begin_summary for market_breadth. The changed sessions go into a table with statistics: a few are looked up by an index, many are not. -#}
{% macro begin_breadth(relation) -%}
    {%- set sessions = ref('stg_sessions') -%}
    {{ begin_summary(relation, 'built.session_date < changed_since.since', follows='daily_analytics', others=breadth_logic()) }}
    {%- if is_incremental() %};
    create temporary table changed_sessions on commit drop as
    select known.session_date
    from {{ sessions }} as known
    cross join changed_since
    where known.session_date >= changed_since.since
        and known.session_date <= (select max(session_date) from {{ ref('daily_analytics') }});
    analyze changed_sessions
    {%- endif %}
{%- endmacro %}
