{#-
  The corporate actions as one knows them, one row per symbol, action and effective date: of each source its newest version (the one
  that became known last, whenever it came in; of what a person said the one that came in last), of several sources the first by source_priority. What a source withdrew it does not have. What a person confirmed goes before all.

  Sources date one split or dividend some days apart. `same_dates` are the dates under which better sources have the same one:
  of about the same size, at most so many days away, and not on a day on which the row's own source has another. Which of them
  counts is for prices to say: judged_actions.

  `rank` orders the sources, as source_rank does. With `day`, a SQL expression, as they were known on that day: by versions of that day or earlier, of actions that hold by then.
-#}
{% macro actions_known(versions, rank, day=none) -%}
    select distinct on (symbol, action, effective_date)
        symbol,
        action,
        effective_date,
        source,
        known_at,
        known_date,
        new_shares,
        old_shares,
        cash,
        new_symbol,
        (
            select array_agg(distinct other.effective_date order by other.effective_date)
            from unnest(near_preferences, near_sources, near_dates, near_sizes)
                as other (preference, source, effective_date, size)
            where action <> 'symbol_change'
                and (other.preference, other.source) < (ranked.preference, ranked.source)
                and other.source <> ranked.source
                and other.effective_date <> ranked.effective_date
                and abs(other.size - ranked.size) * 100 <= {{ var('same_action_percent') }} * other.size
                and not exists (
                    select from unnest(near_sources, near_dates) as own (source, effective_date)
                    where own.source = ranked.source
                        and own.effective_date = other.effective_date
                )
        ) as same_dates,
        ingested_at
    from (
        select
            newest.*,
            array_agg(preference) over near as near_preferences,
            array_agg(source) over near as near_sources,
            array_agg(effective_date) over near as near_dates,
            array_agg(size) over near as near_sizes
        from (
            select distinct on (source, symbol, action, effective_date)
                source,
                symbol,
                action,
                effective_date,
                known_at,
                known_date,
                is_withdrawn,
                new_shares,
                old_shares,
                cash,
                new_symbol,
                case when action = 'split' then new_shares / old_shares else cash end as size,
                case when source = 'user' then 0 else {{ rank }} end as preference,
                ingested_at
            from {{ versions }}
            {%- if day is not none %}
            where known_date <= {{ day }}
                and effective_date <= {{ day }}
            {%- endif %}
            order by
                source,
                symbol,
                action,
                effective_date,
                case when source <> 'user' then known_at end desc,
                ingested_at desc,
                partition desc,
                "offset" desc
        ) as newest
        where not is_withdrawn
        window near as (
            partition by symbol, action
            order by effective_date
            range between interval '{{ var("same_action_days") }} days' preceding and interval '{{ var("same_action_days") }} days' following
        )
    ) as ranked
    order by symbol, action, effective_date, preference, source
{%- endmacro %}
