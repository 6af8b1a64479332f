{#-
  A lateral subquery of one row on the values of an array, nulls left out: how many there are, their median, their MAD (the median
  of the absolute distances from it) and their spread, an estimate of the standard deviation that outliers hardly move: 1.4826 times
  the MAD, or where that is 0, because more than half of the values are the same, 1.2533 times the mean absolute distance, as
  Iglewicz and Hoaglin have it ("How to Detect and Handle Outliers", 1993). What is not above 1e-9, of logarithms a billionth part,
  is the noise of floats: it counts as 0.
-#}
{% macro robust_statistics(values) -%}
    (
        select
            middle.value_count,
            middle.median,
            distances.mad,
            case
                when distances.mad > 1e-9 then 1.4826 * distances.mad
                when distances.mean_distance > 1e-9 then 1.2533 * distances.mean_distance
                else 0
            end as spread
        from (
            select
                count(value) as value_count,
                percentile_cont(0.5) within group (order by value) as median
            from unnest({{ values }}) as value
        ) as middle
        cross join lateral (
            select
                percentile_cont(0.5) within group (order by abs(value - middle.median)) as mad,
                avg(abs(value - middle.median)) as mean_distance
            from unnest({{ values }}) as value
        ) as distances
    )
{%- endmacro %}

{#-
  How many spreads a value is above the median, below it if negative: null without a value or with too few to compare it with,
  infinite where all of those are the same and it is another one.
-#}
{% macro robust_z(value, statistics) -%}
    case
        when {{ statistics }}.value_count < {{ var('anomaly_fewest_sessions') }} then null
        when {{ statistics }}.spread > 0 then ({{ value }} - {{ statistics }}.median) / {{ statistics }}.spread
        when abs({{ value }} - {{ statistics }}.median) > 1e-9
            then sign({{ value }} - {{ statistics }}.median) * 'infinity'::double precision
        when {{ value }} is not null then 0
    end
{%- endmacro %}

{#- The columns of a value measured by `<name>_statistics`. -#}
{% macro robust_columns(name, value) -%}
    {{ name }}_statistics.value_count::integer as {{ name }}_sessions,
    {{ name }}_statistics.median as {{ name }}_median,
    {{ name }}_statistics.mad as {{ name }}_mad,
    {{ name }}_statistics.spread as {{ name }}_spread,
    {{ robust_z(value, name ~ '_statistics') }} as {{ name }}_z
{%- endmacro %}
