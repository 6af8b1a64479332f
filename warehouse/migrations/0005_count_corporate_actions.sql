-- A column that may not be null cannot be added by declaration where there are rows: no batch had an action before it existed.
alter table if exists lake.stream_batches add column if not exists corporate_actions bigint not null default 0;
alter table if exists lake.stream_batches alter column corporate_actions drop default;
