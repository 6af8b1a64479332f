{#-
  Creates marts.rolling_correlation(symbol, other_symbol, sessions): the history of one pair. All pairs of all sessions would be
  hundreds of millions of rows, of which nearly none is ever looked at. It has its owner's rights, as historical_ohlcv_as_known and
  for its reasons: it reads the calendar, which the role analyst may not see.
-#}
{% macro create_function_rolling_correlation() -%}
    create or replace function marts.rolling_correlation(symbol text, other_symbol text, sessions integer default {{ var('correlation_sessions') }})
    returns table (session_date date, correlation double precision, sessions_used integer)
    language plpgsql
    stable
    parallel safe
    security definer
    set search_path = pg_catalog, pg_temp
    as $body$
    #variable_conflict use_column
    begin
        if rolling_correlation.sessions is null or rolling_correlation.sessions not between 2 and 10000 then
            raise exception 'sessions is %: give rolling_correlation a number of sessions from 2 to 10000', coalesce(rolling_correlation.sessions::text, 'null')
                using errcode = 'invalid_parameter_value';
        end if;
        return query
        with

        calendar as (
            select
                known.session_date,
                row_number() over (order by known.session_date) as session_number
            from {{ ref('stg_sessions') }} as known
        ),

        lagged as (
            select
                days.current_symbol,
                {{ is_last_resort('days.origin') }} as is_simulated,
                calendar.session_date,
                calendar.session_number,
                days.close,
                days.total_return_factor::double precision as factor,
                lag(calendar.session_number) over series as session_before,
                lag(days.close) over series as close_before,
                lag(days.total_return_factor::double precision) over series as factor_before
            from {{ ref('historical_ohlcv') }} as days
            inner join calendar
                on days.session_date = calendar.session_date
            where days.current_symbol in (upper(rolling_correlation.symbol), upper(rolling_correlation.other_symbol))
                and days.close > 0
            window series as (
                partition by days.current_symbol, {{ is_last_resort('days.origin') }}
                order by days.session_date, days.symbol
            )
        ),

        returns as (
            select
                current_symbol,
                is_simulated,
                session_date,
                session_number,
                ln(close::double precision / nullif({{ reinvested_close('close_before', 'factor_before', 'factor') }}, 0)) as total_log_return
            from lagged
            where session_before = session_number - 1
        ),

        pairs as (
            -- By groups, not by a join: nobody can estimate these rows, and a nested loop would take a second.
            select
                session_date,
                session_number,
                max(total_log_return) filter (where current_symbol = upper(rolling_correlation.symbol)) as own_return,
                max(total_log_return) filter (where current_symbol = upper(rolling_correlation.other_symbol)) as other_return
            from returns
            group by is_simulated, session_date, session_number
        ),

        rolled as (
            select
                session_date,
                corr(own_return, other_return) over last_sessions as correlation,
                count(*) over last_sessions as sessions_used
            from pairs
            where own_return is not null
                and other_return is not null
            window last_sessions as (
                order by session_number
                range between rolling_correlation.sessions - 1 preceding and current row
            )
        )

        select
            rolled.session_date,
            {{ whole_correlation('rolled.correlation', 'rolled.sessions_used', 'rolling_correlation.sessions') }},
            rolled.sessions_used::integer
        from rolled
        order by rolled.session_date;
    end
    $body$;
    comment on function marts.rolling_correlation(text, text, integer) is
    'How alike the days of two symbols were, session by session: correlation of the returns of so many sessions until each, as in correlations.'
{%- endmacro %}
