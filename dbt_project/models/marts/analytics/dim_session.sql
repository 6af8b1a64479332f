{{ config(materialized='view') }}

with

sessions as (

    select
        session_date,
        pre_open_at,
        open_at,
        close_at,
        post_close_at,
        is_half_day
    from {{ ref('stg_sessions') }}

),

numbered as (

    select
        sessions.*,
        lag(sessions.session_date) over in_order as previous_session_date,
        lead(sessions.session_date) over in_order as next_session_date,
        row_number() over in_order as session_number
    from sessions
    window in_order as (order by session_date)

),

placed as (

    select
        numbered.*,
        date_trunc('week', numbered.session_date::timestamp) as week_starts_on,
        date_trunc('month', numbered.session_date::timestamp) as month_starts_on,
        date_trunc('quarter', numbered.session_date::timestamp) as quarter_starts_on,
        date_trunc('year', numbered.session_date::timestamp) as year_starts_on
    from numbered

),

final as (

    select
        session_date,
        session_number,
        previous_session_date,
        next_session_date,
        is_half_day,
        pre_open_at,
        open_at,
        close_at,
        post_close_at,
        (extract(epoch from open_at - pre_open_at) / 60)::integer as pre_minutes,
        (extract(epoch from close_at - open_at) / 60)::integer as regular_minutes,
        (extract(epoch from post_close_at - close_at) / 60)::integer as post_minutes,
        extract(isodow from session_date)::integer as day_of_week,
        -- Where the calendar begins or ends, nobody knows what is the first or the last of its week, month or year.
        week_starts_on::date as week_starts_on,
        coalesce(previous_session_date < week_starts_on, false) as is_first_of_week,
        coalesce(next_session_date >= week_starts_on + interval '1 week', false) as is_last_of_week,
        extract(month from session_date)::integer as month,
        month_starts_on::date as month_starts_on,
        coalesce(previous_session_date < month_starts_on, false) as is_first_of_month,
        coalesce(next_session_date >= month_starts_on + interval '1 month', false) as is_last_of_month,
        extract(quarter from session_date)::integer as quarter,
        quarter_starts_on::date as quarter_starts_on,
        coalesce(previous_session_date < quarter_starts_on, false) as is_first_of_quarter,
        coalesce(next_session_date >= quarter_starts_on + interval '3 months', false) as is_last_of_quarter,
        extract(year from session_date)::integer as year,
        coalesce(previous_session_date < year_starts_on, false) as is_first_of_year,
        coalesce(next_session_date >= year_starts_on + interval '1 year', false) as is_last_of_year
    from placed

)

select * from final
