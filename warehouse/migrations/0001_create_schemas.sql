-- The schemas of the warehouse. The schema app holds the record of the migrations and exists before them.
create schema if not exists lake;
create schema if not exists marts;
create schema if not exists staging;
create schema if not exists dagster;

comment on schema lake is 'What the stream writes: bars, quotes, sessions and the stream''s own progress.';
comment on schema staging is 'dbt''s staging and intermediate models: no contract, may change at any time.';
comment on schema marts is 'The tables for users, with a contract on their columns.';
comment on schema app is 'The platform''s own records.';
comment on schema dagster is 'Dagster''s storage: runs, events and schedules.';
