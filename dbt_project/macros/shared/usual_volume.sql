{#-
  A lateral subquery: how many days of the company of a row of `prices` there are until the session right before, twenty at most, and
  their mean volume in today's shares. Looked up for each symbol by an index; without a day in that session there are none.
-#}
{% macro usual_volume(days, prices) -%}
    (
        select
            count(*) as day_count,
            avg(split_adjusted_volume)::double precision as mean_volume
        from (
            select listed.split_adjusted_volume
            from {{ days }} as listed
            where listed.current_symbol = {{ prices }}.current_symbol
                and listed.session_date <= {{ prices }}.previous_session_date
                and listed.close is not null
                and {{ is_last_resort('listed.origin') }} = {{ is_last_resort(prices ~ '.source') }}
            order by listed.session_date desc
            limit 20
        ) as days_before
    )
{%- endmacro %}
