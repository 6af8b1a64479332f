{#-
  What the pass over a series knows after a bar: names and types, in the order of the function's columns. `is_kept` are those that
  the mart keeps, so that a pass can go on after its last row; the others follow from the last bars.
-#}
{% macro indicator_states(periods, is_daily=false) -%}
    {%- set kept, others = [], [] -%}
    {%- set double = 'double precision' -%}
    {%- for period in periods.ema -%}
        {%- do kept.append(('ema_%s' % period, double)) -%}
    {%- endfor -%}
    {%- for macd in periods.macd -%}
        {%- do kept.append(('macd_signal' ~ macd.suffix, double)) -%}
    {%- endfor -%}
    {%- for period in periods.rsi -%}
        {%- do kept.extend([('avg_gain_%s' % period, double), ('avg_loss_%s' % period, double)]) -%}
    {%- endfor -%}
    {%- for period in periods.atr -%}
        {%- do kept.append(('atr_%s' % period, double)) -%}
    {%- endfor -%}
    {%- for period in periods.adx -%}
        {%- for name in ['plus_dm', 'minus_dm', 'dm_range', 'adx'] -%}
            {%- do kept.append(('%s_%s' % (name, period), double)) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- do kept.append(('obv', 'numeric')) -%}
    {%- if not is_daily -%}
        {%- do kept.extend([('session_volume', 'numeric'), ('session_notional', 'numeric')]) -%}
    {%- endif -%}
    {%- do others.append(('log_return_1', double)) -%}
    {%- for period in periods.sums -%}
        {%- do others.append(('close_sum_%s' % period, 'numeric')) -%}
    {%- endfor -%}
    {%- for period in periods.band_periods -%}
        {%- do others.append(('square_sum_%s' % period, 'numeric')) -%}
    {%- endfor -%}
    {%- for period in periods.realised_volatility -%}
        {%- do others.extend([('return_sum_%s' % period, 'numeric'), ('return_square_sum_%s' % period, 'numeric')]) -%}
    {%- endfor -%}
    {%- for period in periods.relative_volume -%}
        {%- do others.append(('volume_sum_%s' % period, 'numeric')) -%}
    {%- endfor -%}
    {%- for period in periods.roc -%}
        {%- do others.append(('close_before_%s' % period, 'numeric')) -%}
    {%- endfor -%}
    {%- for stochastic in periods.stochastic -%}
        {%- for name in ['stoch_fast_k', 'stoch_k', 'stoch_d'] -%}
            {%- do others.append((name ~ stochastic.suffix, double)) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- if is_daily -%}
        {%- do others.extend([('high_52w', double), ('low_52w', double), ('first_session_date', 'date')]) -%}
    {%- endif -%}
    {{- return({'kept': kept, 'others': others}) -}}
{%- endmacro %}
