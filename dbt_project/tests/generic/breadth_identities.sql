{#- Fails for every session whose counts do not come to the symbols, or whose parts are more than their whole. One session can be a symbol's
  new high and its new low. -#}
{% test breadth_identities(model) %}
select *
from {{ model }}
where advancing + declining + unchanged + not_compared is distinct from symbols
    or symbols < 1
    or greatest(new_highs, new_lows) > symbols_52_weeks
    or greatest(symbols_52_weeks, symbols_50, symbols_200) > symbols
    or symbols_200 > symbols_50
    or share_above_average_50 not between 0 and 1
    or share_above_average_200 not between 0 and 1
    or advance_decline_line is null
    or least(advancing_volume, declining_volume, unchanged_volume) < 0
{% endtest %}
