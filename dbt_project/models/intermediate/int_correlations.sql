{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        indexes=[
            {'columns': ['symbol', 'other_symbol'], 'unique': true},
            {'columns': ['other_symbol']},
        ],
        pre_hook=["{{ begin_building() }}", "{{ begin_correlations(this) }}"],
        post_hook="{{ watch_summary(this, correlations_logic()) }}",
    )
}}

with

newest_sessions as materialized (

    -- Of real and of simulated symbols, where the pairs are not there.
    select
        finished.is_simulated,
        finished.session_date
    from {{ ref('int_finished_sessions') }} as finished
    where
        finished.recency = 1
        {% if is_incremental() %}
            and not exists (
                select from {{ this }} as built
                where built.is_simulated = finished.is_simulated
            )
        {% endif %}

),

moves as materialized (

    -- Nothing is looked at where nothing is missing.
    select
        company as symbol,
        is_simulated,
        recency,
        total_log_return
    from {{ ref('int_daily_moves') }}
    where
        exists (select from newest_sessions)
        and recency <= {{ var('correlation_sessions') }}
        and not is_gone

),

symbols as (

    select
        moves.symbol,
        newest_sessions.is_simulated,
        newest_sessions.session_date
    from moves
    inner join newest_sessions
        on moves.is_simulated = newest_sessions.is_simulated
    group by moves.symbol, newest_sessions.is_simulated, newest_sessions.session_date

),

series as materialized (

    -- Of each symbol a return or null for each session: two such lists are compared without a join or a sort.
    select
        symbols.symbol,
        symbols.is_simulated,
        symbols.session_date,
        array_agg(moves.total_log_return order by places.recency) as total_log_returns
    from symbols
    cross join generate_series(1, {{ var('correlation_sessions') }}) as places (recency)
    left join moves
        on symbols.symbol = moves.symbol
        and symbols.is_simulated = moves.is_simulated
        and places.recency = moves.recency
    group by symbols.symbol, symbols.is_simulated, symbols.session_date

),

pairs as (

    select
        series.symbol,
        others.symbol as other_symbol,
        series.is_simulated,
        series.session_date,
        compared.correlation,
        compared.sessions_used
    from series
    inner join series as others
        on series.is_simulated = others.is_simulated
        and series.symbol < others.symbol
    cross join
        lateral (
            select
                corr(own_return, other_return) as correlation,
                regr_count(own_return, other_return) as sessions_used
            from unnest(series.total_log_returns, others.total_log_returns) as returns (own_return, other_return)
        ) as compared

),

final as (

    select
        symbol,
        other_symbol,
        is_simulated,
        session_date,
        {{ whole_correlation('correlation', 'sessions_used', var('correlation_sessions')) }} as correlation,
        sessions_used::integer as sessions_used
    from pairs
    where ({{ is_whole('sessions_used', var('correlation_sessions')) }})

)

select * from final
