{#-
  Fails for every bar whose values cannot stand together: prices only in part, a vwap without volume. What each value may be by
  itself, and that none is below low or above high, is asked elsewhere (market/domains.py). That vwap lies between low and high is
  not an identity: more trades count for volume than for prices.
-#}
{% test bar_identities(model) %}
select *
from {{ model }}
where num_nulls(open, high, low, close) not in (0, 4)
    or (volume = 0 and vwap is not null)
{% endtest %}
