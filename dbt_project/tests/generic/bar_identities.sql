{#-
  Fails for every bar whose values cannot stand together: an open without a close, a high without a low, an open without a high, a
  vwap without volume. (A high without an open may be: trades that are reported late count for high and low alone.) What each value may be by
  itself, and that none is below low or above high, is asked elsewhere (market/domains.py). That vwap lies between low and high is
  not an identity: more trades count for volume than for prices.
-#}
{% test bar_identities(model) %}
select *
from {{ model }}
where num_nulls(open, close) = 1
    or num_nulls(high, low) = 1
    or (open is not null and high is null)
    or (volume = 0 and vwap is not null)
{% endtest %}
