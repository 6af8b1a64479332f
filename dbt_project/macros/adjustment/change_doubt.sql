{#-
  Why a change of symbol is not applied, or null: bars contradict it. Some sources list all of a company's past under its newest
  symbol (`newest_symbol_sources`). Where their days under the new symbol reach back before the change, or those under the old one
  go on after it, these days are already those of what trades under the symbol now, and the change would make another company of
  them. What a person confirmed is not doubted.
-#}
{% macro change_doubt(change, days) -%}
    case
        when {{ change }}.source = 'user' then null
        when {{ _has_listed_day(days, change ~ '.new_symbol', '<', change) }}
            then {{ change }}.new_symbol || ' has days before it of a source that lists a company''s past under its newest symbol'
        when {{ _has_listed_day(days, change ~ '.symbol', '<', change) }}
            and {{ _has_listed_day(days, change ~ '.symbol', '>=', change) }}
            then {{ change }}.symbol || ' has days before and after it of a source that lists a company''s past under its newest symbol'
    end
{%- endmacro %}

{% macro _has_listed_day(days, symbol, side, change) -%}
    exists (
        select from {{ days }} as listed
        where listed.symbol = {{ symbol }}
            and listed.session_date {{ side }} {{ change }}.effective_date
            and listed.is_vendor_bar
            and listed.close is not null
            and listed.origin in ('{{ var("newest_symbol_sources") | join("', '") }}')
    )
{%- endmacro %}
