{#-
  The symbols that are made up; see the page of int_made_up_symbols. `touched` is a relation with the symbols that are wanted, by
  default all.
-#}
{% macro made_up_symbols(touched=none) -%}
with

bar_sessions as (

    select
        source,
        symbol
    from {{ ref('stg_bar_sessions') }}
    where
        bar_count > 0
        {{ and_touched_symbol(touched) }}

    union all

    select
        source,
        symbol
    from {{ ref('stg_vendor_bar_sessions') }}
    where
        bar_count > 0
        {{ and_touched_symbol(touched) }}

),

days as (

    select
        source,
        symbol
    from {{ ref('stg_vendor_bars') }}
    where
        interval = '1d'
        {{ and_touched_symbol(touched) }}

),

made_up as (

    select symbol
    from bar_sessions
    where {{ is_last_resort('source') }}

    union

    select symbol
    from days
    where {{ is_last_resort('source') }}

),

final as (

    select
        made_up.symbol,
        not exists (
            select from days
            where
                days.symbol = made_up.symbol
                and not {{ is_last_resort('days.source') }}
        ) as is_made_up_daily
    from made_up
    where
        not exists (
            select from bar_sessions as others
            where
                others.symbol = made_up.symbol
                and not {{ is_last_resort('others.source') }}
        )

)

select * from final
{%- endmacro %}

{#- The same as a relation: the view, or, of some symbols, a query. -#}
{% macro made_up_symbols_of(touched) -%}
    {%- set all_of_them = ref('int_made_up_symbols') -%}
    {%- if touched -%}
        (
            {{ made_up_symbols(touched) }}
        )
    {%- else -%}
        {{ all_of_them }}
    {%- endif -%}
{%- endmacro %}

{#- A condition: whether a row is of the symbols in `touched`, a relation, or nothing where that is not given. -#}
{% macro and_touched_symbol(touched) -%}
    {%- if touched -%}
        and symbol in (select touched.symbol from {{ touched }} as touched)
    {%- endif -%}
{%- endmacro %}
