{#- Statements that bring a pass where it was after the last row of the mart before from_at, or to the beginning if there is none. -#}
{% macro restore_indicators(relation, same_series, periods, states, closes_back, others_back, is_daily) -%}
            select built.*
            into prior
            from {{ relation }} as built
            where {{ same_series }}
                and built.bar_at < from_at
            order by built.bar_at desc, built.bar_number desc
            limit 1;
            if found then
                bar_number := prior.bar_number;
                session_before := prior.session_date;
                close_before := prior.close;
                high_before := prior.high;
                low_before := prior.low;
                {%- for column, type in states.kept %}
                {{ column }} := prior.{{ column }};
                {%- endfor %}
                {%- for period in periods.extremes %}
                -- Of the highest and the lowest is only known that they are not known: the next bar looks for them.
                highest_{{ period }} := 'infinity';
                lowest_{{ period }} := '-infinity';
                {%- endfor %}
                -- Closes reach further back than all else: of the many bars that they take nothing else is read.
                select
                    {%- for period in periods.sums %}
                    sum(last_bars.close) filter (where last_bars.age < {{ period }}),
                    {%- endfor %}
                    {%- for period in periods.band_periods %}
                    sum(last_bars.close * last_bars.close) filter (where last_bars.age < {{ period }}),
                    {%- endfor %}
                    array_agg(last_bars.close order by last_bars.place)
                into
                    {%- for period in periods.sums %}
                    close_sum_{{ period }},
                    {%- endfor %}
                    {%- for period in periods.band_periods %}
                    square_sum_{{ period }},
                    {%- endfor %}
                    closes
                from (
                    select
                        built.close,
                        prior.bar_number - built.bar_number as age,
                        (built.bar_number - 1) % {{ closes_back }} as place
                    from {{ relation }} as built
                    where {{ same_series }}
                        and built.bar_at < from_at
                    order by built.bar_at desc, built.bar_number desc
                    limit {{ closes_back }}
                ) as last_bars;
                select
                    {%- for period in periods.realised_volatility %}
                    sum(last_bars.log_return) filter (where last_bars.age < {{ period }}),
                    sum(last_bars.log_return * last_bars.log_return) filter (where last_bars.age < {{ period }}),
                    {%- endfor %}
                    {%- for period in periods.relative_volume %}
                    sum(last_bars.volume) filter (where last_bars.age between 1 and {{ period }}),
                    {%- endfor %}
                    {%- for stochastic in periods.stochastic %}
                    array_agg(last_bars.stoch_fast_k{{ stochastic.suffix }} order by last_bars.place),
                    array_agg(last_bars.stoch_k{{ stochastic.suffix }} order by last_bars.place),
                    {%- endfor %}
                    {%- if is_daily %}
                    array_agg(last_bars.session_date order by last_bars.place),
                    {%- endif %}
                    array_agg(last_bars.high order by last_bars.place),
                    array_agg(last_bars.low order by last_bars.place),
                    array_agg(last_bars.volume order by last_bars.place),
                    array_agg(last_bars.log_return order by last_bars.place)
                into
                    {%- for period in periods.realised_volatility %}
                    return_sum_{{ period }},
                    return_square_sum_{{ period }},
                    {%- endfor %}
                    {%- for period in periods.relative_volume %}
                    volume_sum_{{ period }},
                    {%- endfor %}
                    {%- for stochastic in periods.stochastic %}
                    fast_ks{{ stochastic.suffix }},
                    ks{{ stochastic.suffix }},
                    {%- endfor %}
                    {%- if is_daily %}
                    dates,
                    {%- endif %}
                    highs,
                    lows,
                    volumes,
                    returns
                from (
                    select
                        built.session_date,
                        built.high::double precision as high,
                        built.low::double precision as low,
                        built.volume::numeric as volume,
                        coalesce(built.log_return_1::numeric, 0) as log_return,
                        {%- for stochastic in periods.stochastic %}
                        built.stoch_fast_k{{ stochastic.suffix }},
                        built.stoch_k{{ stochastic.suffix }},
                        {%- endfor %}
                        prior.bar_number - built.bar_number as age,
                        (built.bar_number - 1) % {{ others_back }} as place
                    from {{ relation }} as built
                    where {{ same_series }}
                        and built.bar_at < from_at
                    order by built.bar_at desc, built.bar_number desc
                    limit {{ others_back }}
                ) as last_bars;
                {%- if is_daily %}
                select built.session_date
                into first_session_date
                from {{ relation }} as built
                where {{ same_series }}
                order by built.bar_at
                limit 1;
                high_52w := 'infinity';
                low_52w := '-infinity';
                {%- endif %}
            else
                bar_number := 0;
                {%- for column, type in states.kept %}
                {{ column }} := 0;
                {%- endfor %}
                {%- for column, type in states.others if '_sum_' in column %}
                {{ column }} := 0;
                {%- endfor %}
                {%- if is_daily %}
                high_52w := '-infinity';
                low_52w := 'infinity';
                {%- endif %}
            end if;
{%- endmacro %}
