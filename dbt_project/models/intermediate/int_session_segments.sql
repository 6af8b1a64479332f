with

sessions as (

    select
        session_date,
        pre_open_at,
        open_at,
        close_at,
        post_close_at
    from {{ ref('stg_sessions') }}

),

segments as (

    select
        session_date,
        'pre' as segment,
        pre_open_at as starts_at,
        open_at as ends_at
    from sessions

    union all

    select
        session_date,
        'regular' as segment,
        open_at as starts_at,
        close_at as ends_at
    from sessions

    union all

    select
        session_date,
        'post' as segment,
        close_at as starts_at,
        post_close_at as ends_at
    from sessions

)

select * from segments
