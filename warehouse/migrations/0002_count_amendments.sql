-- Columns that may not be null cannot be added by declaration where there are rows: no trade was amended before they existed.
alter table if exists lake.bars_1m
    add column if not exists cancelled_trade_count bigint not null default 0,
    add column if not exists corrected_trade_count bigint not null default 0;
alter table if exists lake.bars_1m
    alter column cancelled_trade_count drop default,
    alter column corrected_trade_count drop default;
alter table if exists lake.stream_batches add column if not exists amendments bigint not null default 0;
alter table if exists lake.stream_batches alter column amendments drop default;
