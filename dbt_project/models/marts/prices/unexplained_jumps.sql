{{ config(materialized='view') }}

with

days as (

    select
        symbol,
        session_date,
        lag(symbol) over same_company as symbol_before,
        lag(session_date) over same_company as session_before,
        lag(close) over same_company as price_before,
        coalesce(open, close) as open_after,
        close as close_after
    from {{ ref('historical_ohlcv') }}
    where close is not null
    window same_company as (
        -- What trades no more is another company than the one that has its symbol now.
        partition by coalesce(current_symbol, symbol), current_symbol is null
        order by session_date, symbol
    )

),

splits as (

    select
        symbol,
        effective_date
    from {{ ref('int_known_actions') }}
    where action = 'split'

),

usual_splits as (

    -- Splits of which a day of trading alone is rarely the cause.
    select
        new_shares,
        old_shares,
        old_shares / new_shares as ratio
    from (
        values
        (2::numeric, 1::numeric), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1), (8, 1), (10, 1), (15, 1), (20, 1), (50, 1),
        (1, 2), (1, 3), (1, 4), (1, 5), (1, 6), (1, 7), (1, 8), (1, 10), (1, 15), (1, 20), (1, 25), (1, 30), (1, 50)
    ) as listed (new_shares, old_shares)

),

far_days as (

    select
        *,
        open_after > 3 * price_before or price_before > 3 * open_after as opens_too_far,
        close_after > 3 * price_before or price_before > 3 * close_after as closes_too_far
    from days
    where
        session_before >= session_date - 10
        and (
            open_after > 1.8 * price_before
            or price_before > 1.8 * open_after
            or close_after > 3 * price_before
            or price_before > 3 * close_after
        )

),

jumps as (

    select
        *,
        -- A bar may be off in its close alone.
        case when closes_too_far and not opens_too_far then close_after else open_after end as price_after
    from far_days

),

ratios as (

    select
        *,
        (price_after / price_before)::numeric(38, 18) as observed_ratio
    from jumps

),

final as (

    select
        ratios.symbol,
        ratios.session_date,
        ratios.session_before,
        ratios.price_before::numeric(18, 6) as price_before,
        ratios.price_after::numeric(18, 6) as price_after,
        ratios.observed_ratio,
        nearest.ratio::numeric(38, 18) as likely_ratio
    from ratios
    -- No two of the ratios are so near to each other that one jump could be both.
    left join usual_splits as nearest
        on abs(ln(nullif(greatest(ratios.observed_ratio, 0), 0) / nearest.ratio)) < 0.065
    left join splits
        -- On the day of a change of symbol it may be given under the old one.
        on splits.symbol in (ratios.symbol, ratios.symbol_before)
        -- Of a session without a bar the next one shows what the split did.
        and ratios.session_before < splits.effective_date
        and ratios.session_date >= splits.effective_date
    where
        splits.symbol is null
        -- So far hardly a share moves in a day: prices off by 100 have no usual split's ratio.
        and (nearest.ratio is not null or ratios.opens_too_far or ratios.closes_too_far)

)

select * from final
