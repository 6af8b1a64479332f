-- A column that may not be null cannot be added by declaration where there are rows: no batch had a status before it existed.
alter table if exists lake.stream_batches add column if not exists statuses bigint not null default 0;
alter table if exists lake.stream_batches alter column statuses drop default;
