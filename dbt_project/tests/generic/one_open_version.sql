{#- Fails for every symbol that has two versions at once, or one that ends before it begins. -#}
{% test one_open_version(model) %}
select *
from (
    select
        symbol,
        valid_from,
        valid_to,
        lead(valid_from) over (partition by symbol order by valid_from, valid_to) as next_from
    from {{ model }}
) as versions
where valid_to < valid_from
    or (next_from is not null and (valid_to is null or valid_to > next_from))
{% endtest %}
