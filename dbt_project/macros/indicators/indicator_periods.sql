{#-
  The variable `indicators` as the other macros want it: each entry with its periods by name and with what its columns are called
  after. The first MACD, Bollinger bands and stochastic have the plain names, the others their periods behind them.
-#}
{% macro indicator_periods() -%}
    {%- set chosen = var('indicators') -%}
    {%- set macds, bands, stochastics = [], [], [] -%}
    {%- for fast, slow, signal in chosen.macd -%}
        {%- do macds.append({'fast': fast, 'slow': slow, 'signal': signal, 'suffix': '' if loop.first else '_%s_%s_%s' % (fast, slow, signal)}) -%}
    {%- endfor -%}
    {%- for period, deviations in chosen.bollinger -%}
        {%- do bands.append({'period': period, 'deviations': deviations, 'suffix': '' if loop.first else ('_%s_%g' % (period, deviations)) | replace('.', '_')}) -%}
    {%- endfor -%}
    {%- for period, smooth, signal in chosen.stochastic -%}
        {%- do stochastics.append({'period': period, 'smooth': smooth, 'signal': signal, 'suffix': '' if loop.first else '_%s_%s_%s' % (period, smooth, signal)}) -%}
    {%- endfor -%}
    {%- set emas = (chosen.ema + macds | map(attribute='fast') | list + macds | map(attribute='slow') | list) | unique | sort -%}
    {%- set band_periods = bands | map(attribute='period') | unique | sort -%}
    {%- set sums = (chosen.sma + band_periods) | unique | sort -%}
    {#- How many bars back the moving sums reach, those of closes apart from all else, and how many bars the seeds take. -#}
    {%- set closes_back = (sums + chosen.roc + [1]) | max -%}
    {%- set others_back = [2] + chosen.realised_volatility -%}
    {%- for period in chosen.relative_volume -%}
        {%- do others_back.append(period + 1) -%}
    {%- endfor -%}
    {%- set seeds = [1] + emas -%}
    {%- for stochastic in stochastics -%}
        {%- do others_back.extend([stochastic.period, stochastic.smooth, stochastic.signal]) -%}
    {%- endfor -%}
    {%- for macd in macds -%}
        {%- do seeds.append(macd.slow + macd.signal) -%}
    {%- endfor -%}
    {%- for period in chosen.rsi + chosen.atr -%}
        {%- do seeds.append(period + 1) -%}
    {%- endfor -%}
    {%- for period in chosen.adx -%}
        {%- do seeds.append(2 * period) -%}
    {%- endfor -%}
    {{- return({
        'sma': chosen.sma,
        'ema': emas,
        'rsi': chosen.rsi,
        'macd': macds,
        'bollinger': bands,
        'band_periods': band_periods,
        'sums': sums,
        'atr': chosen.atr,
        'stochastic': stochastics,
        'extremes': stochastics | map(attribute='period') | unique | sort,
        'adx': chosen.adx,
        'roc': chosen.roc,
        'realised_volatility': chosen.realised_volatility,
        'relative_volume': chosen.relative_volume,
        'closes_back': closes_back,
        'others_back': others_back | max,
        'seeded_after': seeds | max,
    }) -}}
{%- endmacro %}
