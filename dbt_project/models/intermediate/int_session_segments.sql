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

    -- By this form one session's are found by its index.
    select
        sessions.session_date,
        segments.segment,
        segments.starts_at,
        segments.ends_at
    from sessions
    cross join
        lateral (
            values
            ('pre', sessions.pre_open_at, sessions.open_at),
            ('regular', sessions.open_at, sessions.close_at),
            ('post', sessions.close_at, sessions.post_close_at)
        ) as segments (segment, starts_at, ends_at)

)

select * from segments
