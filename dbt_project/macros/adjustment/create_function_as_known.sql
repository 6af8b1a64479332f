{#-
  Creates marts.historical_ohlcv_as_known(day) and marts.historical_ohlcv_as_known(day, symbols): the days up to one day, of all
  symbols or of some, adjusted by the actions that were known by then and hold by then, in the columns of the mart. The raw bars are
  those that are known now. They are made with the mart, of the same macros. Of some symbols only their actions are judged, and those
  of all that they are linked to by changes of symbol: nothing else bears on them.

  They have their owner's rights: the role analyst may not see staging and lake, of which they are made. That is safe because they take
  a day and symbols and nothing else, change nothing, run no text, and find every name in pg_catalog or by its schema, whatever the
  caller's search_path is.
-#}
{% macro create_function_as_known(relation) -%}
    {%- set name = relation.schema ~ '.historical_ohlcv_as_known' -%}
    {%- set days = '(select * from ' ~ relation ~ ' where session_date <= historical_ohlcv_as_known.day)' -%}
    {%- set of_symbols -%}
        (select * from {{ ref('stg_corporate_actions') }} where symbol in (
            {{ linked_symbols(ref('stg_corporate_actions'), 'historical_ohlcv_as_known.symbols') }}
        ))
    {%- endset -%}
    do $do$
    begin
        execute $create${{ _as_known(relation, name ~ '(day date)', ref('stg_corporate_actions'), days) }}$create$;
        execute $create${{ _as_known(relation, name ~ '(day date, symbols text[])', of_symbols, days, 'historical_ohlcv_as_known.symbols') }}$create$;
    exception when invalid_function_definition then
        drop function if exists {{ name }}(date) cascade;
        drop function if exists {{ name }}(date, text[]) cascade;
        execute $create${{ _as_known(relation, name ~ '(day date)', ref('stg_corporate_actions'), days) }}$create$;
        execute $create${{ _as_known(relation, name ~ '(day date, symbols text[])', of_symbols, days, 'historical_ohlcv_as_known.symbols') }}$create$;
    end
    $do$;
    comment on function {{ name }}(date) is
    'historical_ohlcv up to a day, adjusted by the actions that were known by then and hold by then: the series as one could see it that day.';
    comment on function {{ name }}(date, text[]) is
    'The same of some symbols, which takes a fraction of the time.'
{%- endmacro %}

{#- The symbols of an array, and all that are linked to them by changes of symbol, whoever says so and whenever. -#}
{% macro linked_symbols(actions, symbols) -%}
    with recursive linked as (
        select unnest({{ symbols }}) as symbol
        union
        select case when changes.symbol = linked.symbol then changes.new_symbol else changes.symbol end
        from linked
        inner join {{ actions }} as changes
            on changes.action = 'symbol_change'
            and linked.symbol in (changes.symbol, changes.new_symbol)
    )
    select linked.symbol
    from linked
    where linked.symbol is not null
{%- endmacro %}

{#- The function `declared`, by the actions `versions`; of the symbols of the array `symbols` alone if that is given. -#}
{% macro _as_known(relation, declared, versions, days, symbols=none) -%}
        create or replace function {{ declared }} returns table (
            symbol text,
            "interval" text,
            bar_at timestamp with time zone,
            open numeric(18,6),
            high numeric(18,6),
            low numeric(18,6),
            close numeric(18,6),
            volume bigint,
            vwap numeric(18,6),
            trade_count bigint,
            session_date date,
            segment text,
            is_final boolean,
            revision bigint,
            origin text,
            is_vendor_bar boolean,
            revised_at timestamp with time zone,
            current_symbol text,
            split_factor numeric(38,18),
            total_return_factor numeric(38,18),
            split_adjusted_open numeric(38,6),
            split_adjusted_high numeric(38,6),
            split_adjusted_low numeric(38,6),
            split_adjusted_close numeric(38,6),
            split_adjusted_volume numeric(38,0),
            total_return_open numeric(38,6),
            total_return_high numeric(38,6),
            total_return_low numeric(38,6),
            total_return_close numeric(38,6)
        )
        language sql
        stable
        parallel safe
        security definer
        set search_path = pg_catalog, pg_temp
        as $body$
            with

            known_actions as (
                {{ actions_known(versions, source_rank('source'), 'historical_ohlcv_as_known.day') }}
            ),

            known_tenures as (
                {{ symbol_tenures('known_actions', days, change_doubt('said_actions', days)) }}
            ),

            judged as (
                {{ judged_actions('known_actions', 'known_tenures', days, change_doubt('compared', days), source_rank('compared.source')) }}
            ),

            spans as (
                {{ adjustment_spans('judged', 'known_tenures') }}
            )

            select
                days.symbol,
                days.interval,
                days.bar_at,
                days.open,
                days.high,
                days.low,
                days.close,
                days.volume,
                days.vwap,
                days.trade_count,
                days.session_date,
                days.segment,
                days.is_final,
                days.revision,
                days.origin,
                days.is_vendor_bar,
                days.revised_at,
                {{ adjusted_bar('days', 'spans') }}
            from {{ relation }} as days
            left join spans
                on days.symbol = spans.symbol
                and days.session_date >= spans.from_date
                and days.session_date < spans.until_date
            {{ join_factors('spans') }}
            where days.session_date <= historical_ohlcv_as_known.day
            {%- if symbols %}
                and days.symbol = any({{ symbols }})
            {%- endif %}
        $body$
{%- endmacro %}
