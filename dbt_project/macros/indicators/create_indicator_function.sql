{#-
  Creates the function that computes a series of indicators: one pass over the bars of one series from `from_at` on, bar after
  bar, each value of the value before and the bar. It goes on where the rows that `relation` has before `from_at` end, so the
  cost follows the bars that are new, and what it gives is to the last bit what one pass over the whole series gives: sums are
  exact numbers, and a recursion goes on from the double that is stored.

  The caller sees to it that `from_at` lies behind the bars that seed the recursions, or before all bars.

  `name`       of the function
  `relation`   the mart that has the rows before `from_at`
  `series`     what tells the series apart: columns of the mart and of the bars, with types; each is a parameter, series_… by name
  `same_bars`  a condition on `bars`, a row of the bars: whether it is of the series of the parameters
  `bars`       a query: the bars of all series, with the columns bar_at, session_date, open, high, low, close, volume, bar_vwap, and
               those of `passed`
  `passed`     what is passed on of the bars: names and types
  `others`     text that the mart's values follow from beside the function: where it or the function is another than before,
               everything of the mart is pending
  `is_daily`   whether the bars are days: they have highest and lowest prices of 52 weeks, and no session so far
-#}
{% macro create_indicator_function(name, relation, series, same_bars, bars, passed, others, is_daily) -%}
    {%- set periods = indicator_periods() -%}
    {#- 52 weeks have 260 sessions at most. -#}
    {%- set closes_back, others_back = periods.closes_back, [periods.others_back, 261 if is_daily else 0] | max -%}
    {%- set states = indicator_states(periods, is_daily) -%}
    {%- set parameters, conditions = [], [] -%}
    {%- for column, type in series -%}
        {%- do parameters.append('series_%s %s' % (column, type)) -%}
        {%- do conditions.append('built.%s = series_%s' % (column, column)) -%}
    {%- endfor -%}
    {%- set same_series = conditions | join(' and ') -%}
    {%- set declared -%}
        {{ name }}({{ parameters | join(', ') }}, from_at timestamp with time zone) returns table (
            bar_at timestamp with time zone,
            session_date date,
            open numeric,
            high numeric,
            low numeric,
            close numeric,
            volume numeric,
            bar_vwap numeric,
            {%- for column, type in passed %}
            {{ column }} {{ type }},
            {%- endfor %}
            bar_number bigint,
            previous_close double precision
            {%- for column, type in states.kept + states.others %},
            {{ column }} {{ type }}
            {%- endfor %}
        )
        language plpgsql
        stable
        parallel safe
    {%- endset -%}
    {%- set body -%}
        #variable_conflict use_column
        declare
            prior record;
            -- The last bars, each at its number modulo the size.
            closes numeric[] := array_fill(0::numeric, array[{{ closes_back }}]);
            highs double precision[] := array_fill(0::double precision, array[{{ others_back }}]);
            lows double precision[] := array_fill(0::double precision, array[{{ others_back }}]);
            volumes numeric[] := array_fill(0::numeric, array[{{ others_back }}]);
            returns numeric[] := array_fill(0::numeric, array[{{ others_back }}]);
            {%- if is_daily %}
            dates date[] := array_fill('-infinity'::date, array[{{ others_back }}]);
            {%- endif %}
            {%- for stochastic in periods.stochastic %}
            fast_ks{{ stochastic.suffix }} double precision[] := array_fill(null::double precision, array[{{ others_back }}]);
            ks{{ stochastic.suffix }} double precision[] := array_fill(null::double precision, array[{{ others_back }}]);
            {%- endfor %}
            {%- for period in periods.extremes %}
            highest_{{ period }} double precision := '-infinity';
            highest_{{ period }}_at bigint := 0;
            lowest_{{ period }} double precision := 'infinity';
            lowest_{{ period }}_at bigint := 0;
            {%- endfor %}
            at_close integer;
            at_other integer;
            session_before date;
            close_before double precision;
            high_before double precision;
            low_before double precision;
            close_now double precision;
            high_now double precision;
            low_now double precision;
            square numeric;
            leaving numeric;
            macd_now double precision;
            move double precision;
            gain double precision;
            loss double precision;
            return_now numeric;
            true_range double precision;
            plus_dm double precision;
            minus_dm double precision;
            direction double precision;
            {%- if is_daily %}
            high_52w_on date := '-infinity';
            low_52w_on date := '-infinity';
            {%- endif %}
        begin
            {{ restore_indicators(relation, same_series, periods, states, closes_back, others_back, is_daily) }}
            for bar_at, session_date, open, high, low, close, volume, bar_vwap
                {%- for column, type in passed %}, {{ column }}{% endfor %},
                close_now, high_now, low_now
            in
                select
                    bars.bar_at,
                    bars.session_date,
                    bars.open,
                    bars.high,
                    bars.low,
                    bars.close,
                    bars.volume::numeric,
                    bars.bar_vwap,
                    {%- for column, type in passed %}
                    bars.{{ column }},
                    {%- endfor %}
                    bars.close::double precision,
                    bars.high::double precision,
                    bars.low::double precision
                from (
                    {{ bars }}
                ) as bars
                where {{ same_bars }}
                    and bars.bar_at >= from_at
                order by bars.bar_at, bars.symbol
            loop
                bar_number := bar_number + 1;
                at_close := (bar_number - 1) % {{ closes_back }} + 1;
                at_other := (bar_number - 1) % {{ others_back }} + 1;
                {{ step_indicators(periods, closes_back, others_back, is_daily) }}
                return next;
            end loop;
        end
    {%- endset -%}
    do $create$
    declare
        logic constant text := '-- {{ local_md5(declared ~ body ~ others) }}';
    begin
        if not exists (
            select from pg_proc
            where pronamespace = '{{ name.split('.') | first }}'::regnamespace
                and proname = '{{ name.split('.') | last }}'
                and starts_with(prosrc, logic)
        ) then
            drop function if exists {{ name }};
            execute concat($function$create function {{ declared }} as $body$$function$, logic, chr(10), $function${{ body }}$body$$function$);
            insert into staging.pending_sessions values ('{{ relation.identifier }}', '*', '-infinity', true);
        end if;
    end
    $create$
{%- endmacro %}
