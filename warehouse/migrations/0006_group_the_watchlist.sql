-- A column that may not be null cannot be added by declaration where there are rows: without a group a symbol is of the default one.
alter table if exists app.watchlist add column if not exists symbol_group text not null default 'default';
alter table if exists app.watchlist alter column symbol_group drop default;
