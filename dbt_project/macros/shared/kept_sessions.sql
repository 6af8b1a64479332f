{#- Of `sessions`, as int_intraday_sessions has them, those that are kept; see the page of int_kept_sessions. -#}
{% macro kept_sessions(sessions) -%}
with

intraday_sessions as (

    select * from {{ sessions }} as known

),

intraday_tier as (

    -- One row, whether or not anything was said of the tier yet.
    select max(kept_since_at) as kept_since_at
    from {{ ref('stg_tiers') }}
    where tier = 'intraday'

),

final as (

    select
        intraday_sessions.symbol,
        intraday_sessions.session_date,
        intraday_sessions.own_source,
        intraday_sessions.tape_at,
        intraday_sessions.has_whole_pre,
        intraday_sessions.has_whole_regular,
        intraday_sessions.has_whole_post,
        intraday_sessions.is_last_resort,
        intraday_sessions.vendor_count,
        intraday_sessions.terms as fingerprint
    from intraday_sessions
    cross join intraday_tier
    where
        {{ is_kept_within_the_day('intraday_sessions') }}

)

select * from final
{%- endmacro %}
