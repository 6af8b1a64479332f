{#-
  The actions beside the prices around their effective date, with what becomes of them (`status`) and why (`evidence`).

  A split is suspicious if prices do not show it: with d = |ln(price_after / price_before / announced ratio)|, the move that the
  split leaves unexplained, if d > ln 1.5, or if d > ln 1.1 and |ln(price_after / price_before)| < d, which is to say that prices
  look more like no split at all. Of prices more than ten days apart neither is asked: years between them explain any move.
  One that no share ever had (`is_split_absurd`) is suspicious whoever says it.
  A dividend is suspicious if it is more than half of the price before, or if that is more than ten days old, a change of symbol if
  bars contradict it (`change_doubt`, of `compared`). What a person confirmed is not doubted. An action under a symbol that was given
  up before, and that nobody else has taken since, is suspicious whoever says it: there is nothing to apply it to.

  The price before is in shares of its day. `splits_between` is what turns it into those that the dividend is paid for: the product of
  old_shares / new_shares over the splits since then that are applied, which is why splits are judged first.

  Of several that are the same (`same_dates`, or under the old and the new symbol around a change) one counts: the best by source that
  prices do not contradict. `rank` orders the sources of `compared`, as source_rank does.
-#}
{% macro judged_actions(actions, tenures, days, change_doubt, rank) -%}
    with

    reached as (

        select max(session_date) as session_date
        from {{ days }}

    ),

    tenured as (

        -- On the day of a change, an action under the old symbol is of what goes on under the next one, unless somebody else has
        -- the symbol on that day: by another change, or since there is a bar of it. Later nobody can tell whose it is.
        select
            actions.*,
            given_up.symbol is not null and actions.effective_date = on_day.starts_on as is_under_old_symbol,
            given_up.symbol is not null and actions.effective_date > on_day.starts_on as is_under_no_symbol,
            held.starts_on,
            held.ends_on,
            held.previous_symbol,
            held.next_symbol
        from {{ actions }} as actions
        left join {{ tenures }} as on_day
            on actions.symbol = on_day.symbol
            and actions.effective_date >= on_day.starts_on
            and actions.effective_date < on_day.ends_on
        left join {{ tenures }} as given_up
            on actions.action <> 'symbol_change'
            and on_day.previous_symbol is null
            and on_day.symbol = given_up.symbol
            and on_day.starts_on = given_up.ends_on
            and not exists (
                select from {{ days }} as days
                where days.symbol = actions.symbol
                    and days.session_date >= on_day.starts_on
                    and days.session_date <= actions.effective_date
                    and days.close is not null
            )
        left join {{ tenures }} as held
            on actions.symbol = held.symbol
            and held.starts_on = case
                when given_up.symbol is not null and actions.effective_date = on_day.starts_on then given_up.starts_on
                else on_day.starts_on
            end

    ),

    placed as (

        select
            actions.*,
            price_before.session_date as session_before,
            price_before.close as price_before,
            price_after.session_date as session_after,
            coalesce(price_after.open, price_after.close) as price_after
        from tenured as actions
        left join {{ tenures }} as next_tenures
            on actions.is_under_old_symbol
            and actions.next_symbol = next_tenures.symbol
            and actions.ends_on = next_tenures.starts_on
        left join lateral (
            select
                days.session_date,
                days.close
            from {{ days }} as days
            where actions.action <> 'symbol_change'
                and days.symbol = actions.symbol
                and days.session_date < actions.effective_date
                and days.session_date >= coalesce(actions.starts_on, '-infinity'::date)
                and days.close is not null
            order by days.session_date desc
            limit 1
        ) as under_same_symbol on true
        left join lateral (
            select
                days.session_date,
                days.close
            from {{ days }} as days
            where under_same_symbol.session_date is null
                and actions.action <> 'symbol_change'
                and days.symbol = actions.previous_symbol
                and days.session_date < actions.starts_on
                and days.close is not null
            order by days.session_date desc
            limit 1
        ) as under_symbol_before on true
        cross join lateral (
            select
                coalesce(under_same_symbol.session_date, under_symbol_before.session_date) as session_date,
                coalesce(under_same_symbol.close, under_symbol_before.close) as close
        ) as price_before
        left join lateral (
            select
                days.session_date,
                days.open,
                days.close
            from {{ days }} as days
            where actions.action <> 'symbol_change'
                and days.symbol = case when actions.is_under_old_symbol then actions.next_symbol else actions.symbol end
                and days.session_date >= actions.effective_date
                and days.session_date < coalesce(
                    case when actions.is_under_old_symbol then next_tenures.ends_on else actions.ends_on end, 'infinity'::date
                )
                and days.close is not null
            order by days.session_date
            limit 1
        ) as price_after on true

    ),

    judged_splits as (

        {{ _judge_placed("(select *, 1::numeric as splits_between from placed where action = 'split')", change_doubt, rank) }}

    ),

    beside_splits as (

        -- Of each dividend the applied splits of the same thing: by a window, since a join of so few guessed rows takes minutes.
        -- One of the day of a change, under the old symbol, is of what goes on under the next.
        select
            symbol,
            previous_symbol,
            effective_date,
            session_before,
            factor is null as is_dividend,
            array_agg(symbol) filter (where factor is not null) over same_thing as split_symbols,
            array_agg(effective_date) filter (where factor is not null) over same_thing as split_dates,
            array_agg(factor) filter (where factor is not null) over same_thing as split_factors
        from (
            select
                symbol,
                previous_symbol,
                effective_date,
                session_before,
                symbol as held_symbol,
                starts_on as held_since,
                null::numeric as factor
            from placed
            where action = 'dividend'
            union all
            select
                symbol,
                null,
                effective_date,
                session_before,
                case when is_under_old_symbol then next_symbol else symbol end,
                case when is_under_old_symbol then ends_on else starts_on end,
                round(old_shares::numeric(48, 30) / new_shares, 24)
            from judged_splits
            where status = 'applied'
        ) as dividends_and_splits
        window same_thing as (partition by held_symbol, held_since)

    ),

    conversions as (

        -- Since the close before: of the day of the dividend itself none, for its cash is for a share before that.
        select
            dividends.symbol,
            dividends.effective_date,
            between_both.splits_between
        from beside_splits as dividends
        cross join lateral (
            select
                count(*) as split_count,
                lake.product(splits.factor order by splits.effective_date) as splits_between
            from unnest(dividends.split_symbols, dividends.split_dates, dividends.split_factors)
                as splits (symbol, effective_date, factor)
            where splits.symbol in (dividends.symbol, dividends.previous_symbol)
                and splits.effective_date > dividends.session_before
                and splits.effective_date < dividends.effective_date
        ) as between_both
        where dividends.is_dividend
            and between_both.split_count > 0

    ),

    placed_others as (

        select
            placed.*,
            coalesce(conversions.splits_between, 1) as splits_between
        from placed
        left join conversions
            on placed.action = 'dividend'
            and placed.symbol = conversions.symbol
            and placed.effective_date = conversions.effective_date
        where placed.action <> 'split'

    ),

    judged_others as (

        {{ _judge_placed('placed_others', change_doubt, rank) }}

    )

    select
        symbol,
        action,
        effective_date,
        status,
        evidence,
        source,
        known_at,
        known_date,
        new_shares,
        old_shares,
        cash,
        new_symbol,
        session_before,
        price_before,
        session_after,
        price_after,
        announced_ratio,
        observed_ratio,
        is_under_old_symbol,
        splits_between,
        ingested_at
    from (
        select * from judged_splits
        union all
        select * from judged_others
    ) as judged
{%- endmacro %}

{#-
  What becomes of actions beside their prices (`placed`, of judged_actions, with `splits_between`): all of a kind at once, since those
  that are the same are among them. The rules are those of judged_actions, whose table `reached` it needs.
-#}
{% macro _judge_placed(placed, change_doubt, rank) -%}
    with

    compared as (

        select
            placed.*,
            case placed.action
                when 'split' then placed.old_shares / placed.new_shares
                -- How far an absurd dividend is beyond the price no column has to hold.
                when 'dividend' then greatest(
                    1 - placed.cash / nullif(placed.price_before * placed.splits_between, 0), -1000000000
                )
            end::numeric(38, 18) as announced_ratio,
            (placed.price_after / nullif(placed.price_before, 0))::numeric(38, 18) as observed_ratio,
            placed.effective_date <= reached.session_date as is_reached
        from {{ placed }} as placed
        cross join reached

    ),

    doubted as (

        select
            compared.*,
            case
                when compared.action = 'symbol_change' then {{ change_doubt }}
                when compared.is_under_no_symbol and compared.is_reached then 'given under a symbol that it no longer has'
                when compared.action = 'split' and {{ is_split_absurd('compared.new_shares', 'compared.old_shares') }}
                    then 'no share is split beyond 10,000 for 1 or 1 for 10,000'
                when compared.observed_ratio is null then null
                when compared.source <> 'user' and compared.action = 'dividend'
                    and compared.session_before < compared.effective_date - 10
                    then 'the close before it is more than ten days old'
                when compared.source <> 'user' and compared.action = 'dividend'
                    and compared.cash > compared.price_before * compared.splits_between / 2
                    then 'the dividend is more than half of the price before it'
                when compared.action = 'dividend' and compared.cash >= compared.price_before * compared.splits_between
                    then 'the dividend is not below the price before it'
                when compared.source <> 'user' and compared.action = 'split'
                    and compared.session_before >= compared.session_after - 10
                    and {{ is_split_doubted('compared.observed_ratio', 'compared.announced_ratio') }}
                    then 'the price did not move as the split says'
            end as doubt,
            case when compared.action = 'split' then compared.new_shares / compared.old_shares else compared.cash end as size,
            case when compared.source = 'user' then 0 else {{ rank }} end as preference
        from compared

    ),

    beside_others as (

        select
            doubted.*,
            array_agg(effective_date) filter (where doubt is null) over (
                partition by symbol, action
                order by effective_date
                range between interval '{{ var("same_action_days") }} days' preceding and interval '{{ var("same_action_days") }} days' following
            ) as undoubted_dates
        from doubted

    ),

    across_changes as (

        -- The same under the old and under the new symbol: of a kind there is one a day, and different sources date it days apart.
        select
            under_old.action,
            under_old.symbol as old_symbol,
            under_old.effective_date as old_date,
            under_old.doubt is null as is_old_undoubted,
            under_new.symbol as new_symbol,
            under_new.effective_date as new_date,
            under_new.doubt is null as is_new_undoubted,
            (under_old.preference, under_old.source) < (under_new.preference, under_new.source) as is_old_better
        from doubted as under_old
        inner join doubted as under_new
            on under_old.next_symbol = under_new.symbol
            and under_old.ends_on = under_new.starts_on
            and under_old.action = under_new.action
        where under_old.action <> 'symbol_change'
            and under_old.next_symbol is not null
            and under_new.starts_on is not null
            and (
                under_old.effective_date = under_new.effective_date
                or (
                    under_old.source <> under_new.source
                    and abs(under_old.effective_date - under_new.effective_date) <= {{ var('same_action_days') }}
                    and abs(under_old.size - under_new.size) * 100
                    <= {{ var('same_action_percent') }} * case
                        when (under_old.preference, under_old.source) < (under_new.preference, under_new.source) then under_old.size
                        else under_new.size
                    end
                )
            )

    ),

    counted_elsewhere as (

        select
            new_symbol as symbol,
            action,
            new_date as effective_date,
            max('the same of ' || old_date || ' under ' || old_symbol || ' counts') as counts_elsewhere
        from across_changes
        where is_old_better
            and is_old_undoubted
        group by new_symbol, action, new_date
        union all
        select
            old_symbol,
            action,
            old_date,
            max('the same of ' || new_date || ' under ' || new_symbol || ' counts')
        from across_changes
        where not is_old_better
            and is_new_undoubted
        group by old_symbol, action, old_date

    ),

    distinguished as (

        select
            beside_others.*,
            (
                select max(better.effective_date)
                from unnest(same_dates) as better (effective_date)
                where better.effective_date = any(undoubted_dates)
            ) as duplicate_of_date,
            (
                select max(counted_elsewhere.counts_elsewhere)
                from counted_elsewhere
                where beside_others.symbol = counted_elsewhere.symbol
                    and beside_others.action = counted_elsewhere.action
                    and beside_others.effective_date = counted_elsewhere.effective_date
            ) as counts_elsewhere
        from beside_others

    )

    select
        symbol,
        action,
        effective_date,
        case
            when duplicate_of_date is not null or counts_elsewhere is not null then 'duplicate'
            when not coalesce(is_reached, false) then 'pending'
            when action = 'symbol_change' and doubt is null then 'applied'
            when action = 'symbol_change' then 'suspicious'
            when is_under_no_symbol then 'suspicious'
            when price_after is null then 'pending'
            when price_before is null then 'nothing_before'
            when doubt is not null then 'suspicious'
            else 'applied'
        end as status,
        coalesce('a better source has the same of ' || duplicate_of_date, counts_elsewhere, doubt) as evidence,
        source,
        known_at,
        known_date,
        new_shares,
        old_shares,
        cash,
        new_symbol,
        session_before,
        price_before::numeric(18, 6) as price_before,
        session_after,
        price_after::numeric(18, 6) as price_after,
        announced_ratio,
        observed_ratio,
        is_under_old_symbol,
        starts_on,
        ends_on,
        next_symbol,
        splits_between,
        ingested_at
    from distinguished
{%- endmacro %}

{#-
  Whether a split is absurd: beyond 10,000 for 1 or 1 for 10,000. Real ones go up to some hundreds, and to some thousands where small
  holders are bought out; what is beyond is a ratio in other units. It is not applied whoever says it and however long the prices
  around it are apart, so that no product has to hold it.
-#}
{% macro is_split_absurd(new_shares, old_shares) -%}
    ({{ new_shares }} > 10000 * {{ old_shares }} or {{ old_shares }} > 10000 * {{ new_shares }})
{%- endmacro %}

{#-
  Whether prices contradict a split: with d = |ln(observed / announced)|, both ratios of prices after to prices before, if d > ln 1.5,
  or if d > ln 1.1 and prices look more like no split at all. Nothing is doubted of which no ratio is known.
-#}
{% macro is_split_doubted(observed, announced) -%}
    {%- set unexplained = _move_beyond(observed, announced) -%}
    coalesce(
        {{ unexplained }} > ln(1.5) or {{ unexplained }} > ln(1.1) and {{ is_split_unseen(observed, announced) }},
        false
    )
{%- endmacro %}

{#- Whether prices look more like no split at all. -#}
{% macro is_split_unseen(observed, announced) -%}
    {{ _move_beyond(observed, announced) }} > abs(ln(nullif(greatest({{ observed }}, 0), 0)))
{%- endmacro %}

{% macro _move_beyond(observed, announced) -%}
    abs(ln(nullif(greatest({{ observed }}, 0), 0) / {{ announced }}))
{%- endmacro %}
