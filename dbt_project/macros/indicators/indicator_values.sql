{#-
  The columns of a mart of indicators out of `passes`, the rows of the function that create_indicator_function makes, with
  bars_per_year. Values are null until they are defined; the formulas and their sources are in docs/indicators.md.
-#}
{% macro indicator_values(is_daily=false) -%}
    {%- set periods = indicator_periods() -%}
    passes.bar_number,
        passes.bar_number >= {{ stable_after(periods) }} as is_stable,
        passes.close::double precision / nullif(passes.previous_close, 0) - 1 as return_1,
        passes.log_return_1
        {%- for period in periods.sma %},
        case when passes.bar_number >= {{ period }} then passes.close_sum_{{ period }}::double precision / {{ period }} end as sma_{{ period }}
        {%- endfor %}
        {%- for period in periods.ema %},
        case when passes.bar_number >= {{ period }} then passes.ema_{{ period }} end as ema_{{ period }}
        {%- endfor %}
        {%- for macd in periods.macd %},
        {%- set value = 'passes.ema_%s - passes.ema_%s' % (macd.fast, macd.slow) %}
        case when passes.bar_number >= {{ macd.slow }} then {{ value }} end as macd{{ macd.suffix }},
        case when passes.bar_number >= {{ macd.slow + macd.signal - 1 }} then passes.macd_signal{{ macd.suffix }} end as macd_signal{{ macd.suffix }},
        case when passes.bar_number >= {{ macd.slow + macd.signal - 1 }} then {{ value }} - passes.macd_signal{{ macd.suffix }} end as macd_hist{{ macd.suffix }}
        {%- endfor %}
        {%- for period in periods.rsi %},
        case
            when passes.bar_number > {{ period }}
                then 100 * passes.avg_gain_{{ period }} / nullif(passes.avg_gain_{{ period }} + passes.avg_loss_{{ period }}, 0)
        end as rsi_{{ period }},
        case when passes.bar_number > {{ period }} then passes.avg_gain_{{ period }} end as avg_gain_{{ period }},
        case when passes.bar_number > {{ period }} then passes.avg_loss_{{ period }} end as avg_loss_{{ period }}
        {%- endfor %}
        {%- for band in periods.bollinger %},
        bands{{ band.suffix }}.middle as bb_middle{{ band.suffix }},
        bands{{ band.suffix }}.middle + {{ band.deviations }} * bands{{ band.suffix }}.deviation as bb_upper{{ band.suffix }},
        bands{{ band.suffix }}.middle - {{ band.deviations }} * bands{{ band.suffix }}.deviation as bb_lower{{ band.suffix }},
        (passes.close::double precision - bands{{ band.suffix }}.middle + {{ band.deviations }} * bands{{ band.suffix }}.deviation)
        / nullif({{ 2 * band.deviations }} * bands{{ band.suffix }}.deviation, 0) as bb_percent_b{{ band.suffix }},
        {{ 2 * band.deviations }} * bands{{ band.suffix }}.deviation / nullif(bands{{ band.suffix }}.middle, 0) as bb_bandwidth{{ band.suffix }}
        {%- endfor %}
        {%- for period in periods.atr %},
        case when passes.bar_number > {{ period }} then passes.atr_{{ period }} end as atr_{{ period }}
        {%- endfor %}
        {%- for stochastic in periods.stochastic %},
        passes.stoch_fast_k{{ stochastic.suffix }},
        passes.stoch_k{{ stochastic.suffix }},
        passes.stoch_d{{ stochastic.suffix }}
        {%- endfor %}
        {%- for period in periods.adx %},
        case when passes.bar_number >= {{ 2 * period }} then passes.adx_{{ period }} end as adx_{{ period }},
        case when passes.bar_number > {{ period }} then 100 * passes.plus_dm_{{ period }} / nullif(passes.dm_range_{{ period }}, 0) end as plus_di_{{ period }},
        case when passes.bar_number > {{ period }} then 100 * passes.minus_dm_{{ period }} / nullif(passes.dm_range_{{ period }}, 0) end as minus_di_{{ period }},
        case when passes.bar_number > {{ period }} then passes.plus_dm_{{ period }} end as plus_dm_{{ period }},
        case when passes.bar_number > {{ period }} then passes.minus_dm_{{ period }} end as minus_dm_{{ period }},
        case when passes.bar_number > {{ period }} then passes.dm_range_{{ period }} end as dm_range_{{ period }}
        {%- endfor %},
        passes.obv::numeric(38, 0) as obv
        {%- if is_daily %},
        passes.bar_vwap::double precision as vwap
        {%- else %},
        (passes.session_notional / nullif(passes.session_volume, 0))::double precision as vwap,
        passes.session_volume::numeric(38, 0) as session_volume,
        passes.session_notional::numeric(58, 6) as session_notional
        {%- endif %}
        {%- for period in periods.roc %},
        100 * (passes.close::double precision / nullif(passes.close_before_{{ period }}, 0)::double precision - 1) as roc_{{ period }}
        {%- endfor %}
        {%- for period in periods.realised_volatility %},
        case
            when passes.bar_number > {{ period }}
                then sqrt(
                    greatest({{ period }} * passes.return_square_sum_{{ period }} - passes.return_sum_{{ period }} * passes.return_sum_{{ period }}, 0)::double precision
                    / {{ period * (period - 1) }} * passes.bars_per_year
                )
        end as realised_volatility_{{ period }}
        {%- endfor %}
        {%- for period in periods.relative_volume %},
        case
            when passes.bar_number > {{ period }}
                then passes.volume::double precision * {{ period }} / nullif(passes.volume_sum_{{ period }}, 0)::double precision
        end as relative_volume_{{ period }}
        {%- endfor %}
        {%- if is_daily %},
        years.high_52w,
        years.low_52w,
        passes.close::double precision / nullif(years.high_52w, 0) - 1 as high_52w_distance,
        passes.close::double precision / nullif(years.low_52w, 0) - 1 as low_52w_distance
        {%- endif %}
{%- endmacro %}

{#- What indicator_values refers to more than once: joins behind `passes`. -#}
{% macro join_indicator_values(is_daily=false) -%}
    {%- for band in indicator_periods().bollinger %}
    cross join lateral (
        select
            case when passes.bar_number >= {{ band.period }} then passes.close_sum_{{ band.period }}::double precision / {{ band.period }} end as middle,
            case
                when passes.bar_number >= {{ band.period }}
                    then sqrt(
                        greatest(
                            {{ band.period }} * passes.square_sum_{{ band.period }} - passes.close_sum_{{ band.period }} * passes.close_sum_{{ band.period }}, 0
                        )::double precision
                    ) / {{ band.period }}
            end as deviation
    ) as bands{{ band.suffix }}
    {%- endfor %}
    {%- if is_daily %}
    cross join lateral (
        select
            case when passes.first_session_date <= passes.session_date - 364 then passes.high_52w end as high_52w,
            case when passes.first_session_date <= passes.session_date - 364 then passes.low_52w end as low_52w
    ) as years
    {%- endif %}
{%- endmacro %}

{#-
  From which bar of a series on no value of its row depends on where the series begins: the seed of each recursion weighs less
  than a billionth. Of an average over an average, as the MACD's signal and the ADX, both have to forget.
-#}
{% macro stable_after(periods) -%}
    greatest(
        2
        {%- for period in periods.sums %},
        {{ period }}
        {%- endfor %}
        {%- for period in periods.roc + periods.realised_volatility + periods.relative_volume %},
        {{ period + 1 }}
        {%- endfor %}
        {%- for stochastic in periods.stochastic %},
        {{ stochastic.period + stochastic.smooth + stochastic.signal - 2 }}
        {%- endfor %}
        {%- for period in periods.ema %},
        {{ period }} + {{ bars_to_forget('2.0 / %s' % (period + 1)) }}
        {%- endfor %}
        {%- for macd in periods.macd %},
        {{ macd.slow + macd.signal }} + {{ bars_to_forget('2.0 / %s' % (macd.slow + 1)) }} + {{ bars_to_forget('2.0 / %s' % (macd.signal + 1)) }}
        {%- endfor %}
        {%- for period in periods.rsi + periods.atr %},
        {{ period + 1 }} + {{ bars_to_forget('1.0 / %s' % period) }}
        {%- endfor %}
        {%- for period in periods.adx %},
        {{ 2 * period }} + 2 * {{ bars_to_forget('1.0 / %s' % period) }}
        {%- endfor %}
    )
{%- endmacro %}

{#- After how many bars a start weighs less than a billionth, if the newest bar weighs `weight`; of a period of 1 it is all of it. -#}
{% macro bars_to_forget(weight) -%}
    coalesce(ceil(ln(1e-9::double precision) / ln(nullif(1 - ({{ weight }})::double precision, 0))), 1)::integer
{%- endmacro %}
