{#-
  The actions beside the prices around their effective date, with what becomes of them (`status`) and why (`evidence`).

  A split is suspicious if prices do not show it: with d = |ln(price_after / price_before / announced ratio)|, the move that the
  split leaves unexplained, if d > ln 1.5, or if d > ln 1.1 and |ln(price_after / price_before)| < d, which is to say that prices
  look more like no split at all. Of prices more than ten days apart neither is asked: years between them explain any move.
  A dividend is suspicious if it is more than half of the price before, a change of symbol if bars contradict it (`change_doubt`, of
  `compared`). What a person confirmed is not doubted.

  Of several that are the same (`same_dates`) one counts: the best by source that prices do not contradict.
-#}
{% macro judged_actions(actions, tenures, days, change_doubt) -%}
    with

    reached as (

        select max(session_date) as session_date
        from {{ days }}

    ),

    placed as (

        select
            actions.*,
            price_before.session_date as session_before,
            price_before.close as price_before,
            price_after.session_date as session_after,
            coalesce(price_after.open, price_after.close) as price_after
        from {{ actions }} as actions
        left join {{ tenures }} as tenures
            on actions.symbol = tenures.symbol
            and actions.effective_date >= tenures.starts_on
            and actions.effective_date < tenures.ends_on
        left join lateral (
            select
                days.session_date,
                days.close
            from {{ days }} as days
            where actions.action <> 'symbol_change'
                and days.symbol = actions.symbol
                and days.session_date < actions.effective_date
                and days.session_date >= coalesce(tenures.starts_on, '-infinity'::date)
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
                and days.symbol = tenures.previous_symbol
                and days.session_date < tenures.starts_on
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
                and days.symbol = actions.symbol
                and days.session_date >= actions.effective_date
                and days.session_date < coalesce(tenures.ends_on, 'infinity'::date)
                and days.close is not null
            order by days.session_date
            limit 1
        ) as price_after on true

    ),

    compared as (

        select
            placed.*,
            case placed.action
                when 'split' then placed.old_shares / placed.new_shares
                when 'dividend' then 1 - placed.cash / nullif(placed.price_before, 0)
            end::numeric(38, 18) as announced_ratio,
            (placed.price_after / nullif(placed.price_before, 0))::numeric(38, 18) as observed_ratio,
            placed.effective_date <= reached.session_date as is_reached
        from placed
        cross join reached

    ),

    doubted as (

        select
            compared.*,
            case
                when compared.action = 'symbol_change' then {{ change_doubt }}
                when compared.observed_ratio is null then null
                when compared.source <> 'user' and compared.action = 'dividend' and compared.cash > compared.price_before / 2
                    then 'the dividend is more than half of the price before it'
                when compared.action = 'dividend' and compared.announced_ratio <= 0
                    then 'the dividend is not below the price before it'
                when compared.source <> 'user' and compared.action = 'split'
                    and compared.session_before >= compared.session_after - 10
                    and {{ is_split_doubted('compared.observed_ratio', 'compared.announced_ratio') }}
                    then 'the price did not move as the split says'
            end as doubt
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

    distinguished as (

        select
            beside_others.*,
            (
                select max(better.effective_date)
                from unnest(same_dates) as better (effective_date)
                where better.effective_date = any(undoubted_dates)
            ) as duplicate_of_date
        from beside_others

    )

    select
        symbol,
        action,
        effective_date,
        case
            when duplicate_of_date is not null then 'duplicate'
            when not coalesce(is_reached, false) then 'pending'
            when action = 'symbol_change' and doubt is null then 'applied'
            when action = 'symbol_change' then 'suspicious'
            when price_after is null then 'pending'
            when price_before is null then 'nothing_before'
            when doubt is not null then 'suspicious'
            else 'applied'
        end as status,
        coalesce('a better source has the same of ' || duplicate_of_date, doubt) as evidence,
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
        ingested_at
    from distinguished
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
