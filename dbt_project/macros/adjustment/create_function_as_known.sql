{#-
  Creates marts.historical_ohlcv_as_known(day): the days up to one day, adjusted by the actions that were known by then and hold
  by then, in the columns of the mart. The raw bars are those that are known now. It is made with the mart, of the same macros.

  It has its owner's rights: the role analyst may not see staging and lake, of which it is made. That is safe because it takes a day
  and nothing else, changes nothing, runs no text, and finds every name in pg_catalog or by its schema, whatever the caller's
  search_path is.
-#}
{% macro create_function_as_known(relation) -%}
    {%- set days = '(select * from ' ~ relation ~ ' where session_date <= historical_ohlcv_as_known.day)' -%}
    {%- set create_function -%}
        create or replace function {{ relation.schema }}.historical_ohlcv_as_known(day date) returns table (
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
                {{ actions_known(ref('stg_corporate_actions'), source_rank('source'), 'historical_ohlcv_as_known.day') }}
            ),

            known_tenures as (
                {{ symbol_tenures('known_actions', days, change_doubt('said_actions', days)) }}
            ),

            judged as (
                {{ judged_actions('known_actions', 'known_tenures', days, change_doubt('compared', days)) }}
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
        $body$
    {%- endset -%}
    do $do$
    begin
        execute $create${{ create_function }}$create$;
    exception when invalid_function_definition then
        drop function {{ relation.schema }}.historical_ohlcv_as_known(date) cascade;
        execute $create${{ create_function }}$create$;
    end
    $do$;
    comment on function {{ relation.schema }}.historical_ohlcv_as_known(date) is
    'historical_ohlcv up to a day, adjusted by the actions that were known by then and hold by then: the series as one could see it that day.'
{%- endmacro %}
