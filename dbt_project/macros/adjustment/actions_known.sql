{#-
  The corporate actions as one knows them, one row per symbol, action and effective date: of each source its newest version, of
  several sources the first by source_priority. What a source withdrew it does not have. What a person confirmed goes before all.

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
        ingested_at
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
            ingested_at
        from {{ versions }}
        {%- if day is not none %}
        where known_date <= {{ day }}
            and effective_date <= {{ day }}
        {%- endif %}
        order by source, symbol, action, effective_date, ingested_at desc, partition desc, "offset" desc
    ) as newest
    where not is_withdrawn
    order by symbol, action, effective_date, source <> 'user', {{ rank }}, source
{%- endmacro %}
