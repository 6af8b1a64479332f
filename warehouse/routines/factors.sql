-- The product of factors, as an aggregate and over windows: PostgreSQL has none. Each product is rounded to 24 decimals, so that
-- it does not grow longer with every factor; after a hundred of them the error is below 10^-21.
create or replace function lake.times(product numeric, factor numeric) returns numeric
language sql
immutable
parallel safe
return round(product * factor, 24);

create or replace aggregate lake.product(numeric) (
    sfunc = lake.times,
    stype = numeric,
    initcond = '1',
    parallel = safe
);
