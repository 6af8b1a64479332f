{#-
  By what the prices of a day are multiplied: one row per symbol and span of time in which it is the same, from -infinity to
  infinity. A symbol without a row has never had an action: its factors are 1, and it is its own current symbol.

  The factor of a split is old_shares / new_shares; that of a dividend 1 - cash / the close before its ex-date, in the shares of the
  day before that date, as CRSP has it. A day's factor is the product of those of all later actions of what traded under the symbol on
  that day, through all its later symbols. What has no room in 38 digits, 18 of them decimals, is the nearest that has: the splits of
  no real share multiply to more than some 10^12, and those of a wrong one must not stop the days of all others.
-#}
{% macro adjustment_spans(judged, tenures) -%}
    with recursive

    factors as (

        select
            symbol,
            effective_date,
            is_under_old_symbol,
            coalesce(
                max(round(old_shares::numeric(48, 30) / new_shares, 24)) filter (where action = 'split'), 1
            ) as split_factor,
            coalesce(
                max(1 - round(cash::numeric(48, 30) / (price_before * splits_between), 24)) filter (where action = 'dividend'), 1
            ) as dividend_factor
        from {{ judged }}
        where status = 'applied'
            and action <> 'symbol_change'
        group by symbol, effective_date, is_under_old_symbol

    ),

    tenures as (

        select
            symbol,
            starts_on,
            ends_on,
            next_symbol
        from {{ tenures }}
        union all
        select distinct
            factors.symbol,
            '-infinity'::date as starts_on,
            'infinity'::date as ends_on,
            null as next_symbol
        from factors
        where not exists (
            select from {{ tenures }} as changed
            where changed.symbol = factors.symbol
        )

    ),

    chains as (

        select
            symbol as own_symbol,
            starts_on as own_starts_on,
            ends_on as own_ends_on,
            symbol,
            starts_on,
            ends_on,
            next_symbol
        from tenures
        union all
        select
            chains.own_symbol,
            chains.own_starts_on,
            chains.own_ends_on,
            later.symbol,
            later.starts_on,
            later.ends_on,
            later.next_symbol
        from chains
        inner join tenures as later
            on chains.next_symbol = later.symbol
            and chains.ends_on = later.starts_on

    ),

    events as (

        select
            chains.own_symbol,
            chains.own_starts_on,
            chains.own_ends_on,
            factors.effective_date,
            factors.split_factor,
            factors.dividend_factor
        from chains
        inner join factors
            on chains.symbol = factors.symbol
            and case
                when factors.is_under_old_symbol then factors.effective_date = chains.ends_on
                else factors.effective_date >= chains.starts_on and factors.effective_date < chains.ends_on
            end
        where factors.effective_date > chains.own_starts_on
        union all
        select
            symbol,
            starts_on,
            ends_on,
            'infinity'::date,
            1,
            1
        from tenures

    ),

    spans as (

        select
            own_symbol,
            own_starts_on,
            own_ends_on,
            lag(effective_date, 1, own_starts_on) over (
                partition by own_symbol, own_starts_on
                order by effective_date
            ) as from_date,
            effective_date as until_date,
            lake.product(split_factor) over (
                partition by own_symbol, own_starts_on
                order by effective_date desc
            ) as split_factor,
            lake.product(lake.times(split_factor, dividend_factor)) over (
                partition by own_symbol, own_starts_on
                order by effective_date desc
            ) as total_return_factor
        from events

    )

    select
        spans.own_symbol as symbol,
        spans.from_date,
        least(spans.until_date, spans.own_ends_on) as until_date,
        {{ _with_room('spans.split_factor') }} as split_factor,
        {{ _with_room('spans.total_return_factor') }} as total_return_factor,
        lasting.symbol as current_symbol
    from spans
    left join chains as lasting
        on spans.own_symbol = lasting.own_symbol
        and spans.own_starts_on = lasting.own_starts_on
        and lasting.ends_on = 'infinity'
    where spans.from_date < spans.own_ends_on
{%- endmacro %}

{% macro _with_room(factor) -%}
    least(greatest({{ factor }}, 0.000000000000000001), 99999999999999999999.999999999999999999)::numeric(38, 18)
{%- endmacro %}
