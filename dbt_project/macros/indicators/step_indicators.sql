{#-
  Statements that take the bar at hand into a pass. The definitions are those of docs/indicators.md; the recursions begin where
  TA-Lib begins them.
-#}
{% macro step_indicators(periods, closes_back, others_back, is_daily) -%}
                {%- set close_at = 'closes[(bar_number - 1 - %s) %% ' ~ closes_back ~ ' + 1]' %}
                {%- set other_at = '%s[(bar_number - 1 - %s) %% ' ~ others_back ~ ' + 1]' %}
                -- Moving sums: the bar comes, and the one that is too old goes. What goes is read before its place is taken.
                square := close * close;
                {%- for period in periods.sums %}
                close_sum_{{ period }} := close_sum_{{ period }} + close;
                {%- if period in periods.band_periods %}
                square_sum_{{ period }} := square_sum_{{ period }} + square;
                {%- endif %}
                if bar_number > {{ period }} then
                    leaving := {{ close_at % period }};
                    close_sum_{{ period }} := close_sum_{{ period }} - leaving;
                    {%- if period in periods.band_periods %}
                    square_sum_{{ period }} := square_sum_{{ period }} - leaving * leaving;
                    {%- endif %}
                end if;
                {%- endfor %}
                {%- for period in periods.roc %}
                if bar_number > {{ period }} then
                    close_before_{{ period }} := {{ close_at % period }};
                end if;
                {%- endfor %}
                {%- for period in periods.relative_volume %}
                -- Of the bars before this one.
                if bar_number > 1 then
                    volume_sum_{{ period }} := volume_sum_{{ period }} + {{ other_at % ('volumes', 1) }};
                    if bar_number > {{ period + 1 }} then
                        volume_sum_{{ period }} := volume_sum_{{ period }} - {{ other_at % ('volumes', period + 1) }};
                    end if;
                end if;
                {%- endfor %}

                -- Exponential averages begin as the mean of their first bars.
                {%- for period in periods.ema %}
                if bar_number > {{ period }} then
                    ema_{{ period }} := ema_{{ period }} + (close_now - ema_{{ period }}) * {{ ema_weight(period) }};
                elsif bar_number = {{ period }} then
                    ema_{{ period }} := (ema_{{ period }} + close_now) / {{ period }};
                else
                    ema_{{ period }} := ema_{{ period }} + close_now;
                end if;
                {%- endfor %}
                {%- for macd in periods.macd %}
                if bar_number >= {{ macd.slow }} then
                    macd_now := ema_{{ macd.fast }} - ema_{{ macd.slow }};
                    if bar_number >= {{ macd.slow + macd.signal }} then
                        macd_signal{{ macd.suffix }} := {{ at_rest('macd_signal' ~ macd.suffix) }};
                        macd_signal{{ macd.suffix }} := macd_signal{{ macd.suffix }} + (macd_now - macd_signal{{ macd.suffix }}) * {{ ema_weight(macd.signal) }};
                    elsif bar_number = {{ macd.slow + macd.signal - 1 }} then
                        macd_signal{{ macd.suffix }} := (macd_signal{{ macd.suffix }} + macd_now) / {{ macd.signal }};
                    else
                        macd_signal{{ macd.suffix }} := macd_signal{{ macd.suffix }} + macd_now;
                    end if;
                end if;
                {%- endfor %}

                -- What compares the bar with the one before.
                if bar_number = 1 then
                    obv := volume;
                    return_now := 0;
                else
                    move := close_now - close_before;
                    gain := greatest(move, 0);
                    loss := greatest(-move, 0);
                    if move > 0 then
                        obv := obv + volume;
                    elsif move < 0 then
                        obv := obv - volume;
                    end if;
                    log_return_1 := case when close_now > 0 and close_before > 0 then ln(close_now / close_before) end;
                    return_now := coalesce(log_return_1::numeric, 0);
                    {%- if periods.atr or periods.adx %}
                    true_range := greatest(high_now - low_now, abs(high_now - close_before), abs(low_now - close_before));
                    {%- endif %}
                    {%- if periods.adx %}
                    plus_dm := high_now - high_before;
                    minus_dm := low_before - low_now;
                    if plus_dm > minus_dm then
                        plus_dm := greatest(plus_dm, 0);
                        minus_dm := 0;
                    elsif minus_dm > plus_dm then
                        minus_dm := greatest(minus_dm, 0);
                        plus_dm := 0;
                    else
                        plus_dm := 0;
                        minus_dm := 0;
                    end if;
                    {%- endif %}
                    {%- for period in periods.rsi %}
                    if bar_number > {{ period + 1 }} then
                        avg_gain_{{ period }} := ({{ at_rest('avg_gain_%s' % period) }} * {{ period - 1 }} + gain) / {{ period }};
                        avg_loss_{{ period }} := ({{ at_rest('avg_loss_%s' % period) }} * {{ period - 1 }} + loss) / {{ period }};
                    else
                        avg_gain_{{ period }} := avg_gain_{{ period }} + gain;
                        avg_loss_{{ period }} := avg_loss_{{ period }} + loss;
                        if bar_number = {{ period + 1 }} then
                            avg_gain_{{ period }} := avg_gain_{{ period }} / {{ period }};
                            avg_loss_{{ period }} := avg_loss_{{ period }} / {{ period }};
                        end if;
                    end if;
                    {%- endfor %}
                    {%- for period in periods.atr %}
                    if bar_number > {{ period + 1 }} then
                        atr_{{ period }} := ({{ at_rest('atr_%s' % period) }} * {{ period - 1 }} + true_range) / {{ period }};
                    elsif bar_number = {{ period + 1 }} then
                        atr_{{ period }} := (atr_{{ period }} + true_range) / {{ period }};
                    else
                        atr_{{ period }} := atr_{{ period }} + true_range;
                    end if;
                    {%- endfor %}
                    {%- for period in periods.adx %}
                    if bar_number > {{ period }} then
                        plus_dm_{{ period }} := {{ at_rest('plus_dm_%s' % period) }};
                        plus_dm_{{ period }} := plus_dm_{{ period }} - plus_dm_{{ period }} / {{ period }} + plus_dm;
                        minus_dm_{{ period }} := {{ at_rest('minus_dm_%s' % period) }};
                        minus_dm_{{ period }} := minus_dm_{{ period }} - minus_dm_{{ period }} / {{ period }} + minus_dm;
                        dm_range_{{ period }} := {{ at_rest('dm_range_%s' % period) }};
                        dm_range_{{ period }} := dm_range_{{ period }} - dm_range_{{ period }} / {{ period }} + true_range;
                        -- Where nothing moved there is no direction, and the average stays.
                        if dm_range_{{ period }} > 0 and plus_dm_{{ period }} + minus_dm_{{ period }} > 0 then
                            direction := 100 * abs(plus_dm_{{ period }} - minus_dm_{{ period }}) / (plus_dm_{{ period }} + minus_dm_{{ period }});
                            if bar_number > {{ 2 * period }} then
                                adx_{{ period }} := ({{ at_rest('adx_%s' % period) }} * {{ period - 1 }} + direction) / {{ period }};
                            else
                                adx_{{ period }} := adx_{{ period }} + direction;
                            end if;
                        end if;
                        if bar_number = {{ 2 * period }} then
                            adx_{{ period }} := adx_{{ period }} / {{ period }};
                        end if;
                    else
                        plus_dm_{{ period }} := plus_dm_{{ period }} + plus_dm;
                        minus_dm_{{ period }} := minus_dm_{{ period }} + minus_dm;
                        dm_range_{{ period }} := dm_range_{{ period }} + true_range;
                    end if;
                    {%- endfor %}
                end if;
                {%- for period in periods.realised_volatility %}
                return_sum_{{ period }} := return_sum_{{ period }} + return_now;
                return_square_sum_{{ period }} := return_square_sum_{{ period }} + return_now * return_now;
                if bar_number > {{ period }} then
                    leaving := {{ other_at % ('returns', period) }};
                    return_sum_{{ period }} := return_sum_{{ period }} - leaving;
                    return_square_sum_{{ period }} := return_square_sum_{{ period }} - leaving * leaving;
                end if;
                {%- endfor %}
                {%- if not is_daily %}

                -- The session so far.
                if session_date is distinct from session_before then
                    session_volume := 0;
                    session_notional := 0;
                    session_before := session_date;
                end if;
                session_volume := session_volume + volume;
                session_notional := session_notional + volume * coalesce(bar_vwap, round((high + low + close) / 3, 6));
                {%- endif %}

                -- The bar is now the last of the last bars.
                closes[at_close] := close;
                highs[at_other] := high_now;
                lows[at_other] := low_now;
                volumes[at_other] := volume;
                returns[at_other] := return_now;

                -- Highest and lowest: looked for again only when the one that is known grows too old.
                {%- for period in periods.extremes %}
                {{ step_extreme('highest_%s' % period, 'highest_%s_at' % period, 'high_now', 'highs', '>', period, others_back) }}
                {{ step_extreme('lowest_%s' % period, 'lowest_%s_at' % period, 'low_now', 'lows', '<', period, others_back) }}
                {%- endfor %}
                {%- for stochastic in periods.stochastic %}
                stoch_fast_k{{ stochastic.suffix }} := null;
                if bar_number >= {{ stochastic.period }} and highest_{{ stochastic.period }} > lowest_{{ stochastic.period }} then
                    stoch_fast_k{{ stochastic.suffix }} := 100 * (close_now - lowest_{{ stochastic.period }}) / (highest_{{ stochastic.period }} - lowest_{{ stochastic.period }});
                end if;
                fast_ks{{ stochastic.suffix }}[at_other] := stoch_fast_k{{ stochastic.suffix }};
                {{ step_mean('stoch_k' ~ stochastic.suffix, 'fast_ks' ~ stochastic.suffix, stochastic.smooth, others_back) }}
                ks{{ stochastic.suffix }}[at_other] := stoch_k{{ stochastic.suffix }};
                {{ step_mean('stoch_d' ~ stochastic.suffix, 'ks' ~ stochastic.suffix, stochastic.signal, others_back) }}
                {%- endfor %}
                {%- if is_daily %}
                dates[at_other] := session_date;
                first_session_date := coalesce(first_session_date, session_date);
                {{ step_year('high_52w', 'high_52w_on', 'high_now', 'highs', '>', others_back) }}
                {{ step_year('low_52w', 'low_52w_on', 'low_now', 'lows', '<', others_back) }}
                {%- endif %}

                previous_close := close_before;
                close_before := close_now;
                high_before := high_now;
                low_before := low_now;
{%- endmacro %}

{#- The highest or lowest value of the last bars, of `period` with this one. -#}
{% macro step_extreme(extreme, extreme_at, value, values, beyond, period, others_back) -%}
                if {{ value }} {{ beyond }}= {{ extreme }} then
                    {{ extreme }} := {{ value }};
                    {{ extreme_at }} := bar_number;
                elsif {{ extreme_at }} <= bar_number - {{ period }} then
                    {{ extreme }} := {{ value }};
                    {{ extreme_at }} := bar_number;
                    for earlier in greatest(1, bar_number - {{ period - 1 }})..bar_number - 1 loop
                        if {{ values }}[(earlier - 1) % {{ others_back }} + 1] {{ beyond }}= {{ extreme }} then
                            {{ extreme }} := {{ values }}[(earlier - 1) % {{ others_back }} + 1];
                            {{ extreme_at }} := earlier;
                        end if;
                    end loop;
                end if;
{%- endmacro %}

{#- The highest or lowest value of 52 weeks. -#}
{% macro step_year(extreme, extreme_on, value, values, beyond, others_back) -%}
                if {{ value }} {{ beyond }}= {{ extreme }} then
                    {{ extreme }} := {{ value }};
                    {{ extreme_on }} := session_date;
                elsif {{ extreme_on }} < session_date - 364 then
                    {{ extreme }} := {{ value }};
                    {{ extreme_on }} := session_date;
                    for earlier in greatest(1, bar_number - {{ others_back - 1 }})..bar_number - 1 loop
                        if
                            dates[(earlier - 1) % {{ others_back }} + 1] >= session_date - 364
                            and {{ values }}[(earlier - 1) % {{ others_back }} + 1] {{ beyond }}= {{ extreme }}
                        then
                            {{ extreme }} := {{ values }}[(earlier - 1) % {{ others_back }} + 1];
                            {{ extreme_on }} := dates[(earlier - 1) % {{ others_back }} + 1];
                        end if;
                    end loop;
                end if;
{%- endmacro %}

{#- The mean of the last values, or null where one of them is: added up anew for each bar, in the same order always. -#}
{% macro step_mean(mean, values, period, others_back) -%}
                if bar_number >= {{ period }} then
                    {{ mean }} := (
                        {%- for age in range(period - 1, -1, -1) -%}
                            {{ ' + ' if not loop.first }}{{ values }}[(bar_number - 1 - {{ age }}) % {{ others_back }} + 1]
                        {%- endfor -%}
                    ) / {{ period }};
                end if;
{%- endmacro %}

{#- The weight of the newest value in an exponential average, with all the digits of a double. -#}
{% macro ema_weight(period) -%}
    {{- '%.17g' % (2 / (period + 1)) -}}::double precision
{%- endmacro %}

{#-
  A value that fades where nothing moves any more, or 0 where hardly anything is left of it: PostgreSQL takes a double that is too
  small to be one for an error.
-#}
{% macro at_rest(value) -%}
    case when abs({{ value }}) > 1e-290 then {{ value }} else 0 end
{%- endmacro %}
