{#-
  Fails for every bar that cannot be: low above or high below another price, prices only in part, a negative volume, a
  vwap without volume. That vwap lies between low and high is not an identity: more trades count for volume than for prices.
-#}
{% test bar_identities(model) %}
select *
from {{ model }}
where low > least(open, close)
    or high < greatest(open, close)
    or low <= 0
    or num_nulls(open, high, low, close) not in (0, 4)
    or volume < 0
    or trade_count < 0
    or vwap <= 0
    or (volume = 0 and vwap is not null)
    or revision < 1
{% endtest %}
