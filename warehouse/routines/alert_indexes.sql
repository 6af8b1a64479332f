-- What two evaluations at once must not write twice, whatever else keeps them apart.
create unique index if not exists alerts_of_a_bar_idx on app.alerts (rule_id, symbol, "interval", bar_at, revision, kind);
create unique index if not exists alert_rules_name_idx on app.alert_rules (name) where status <> 'ended';
create unique index if not exists alert_fields_field_idx on app.alert_fields (field);
-- A field is found by its number in an array that is made for each bar.
create index if not exists alert_rule_versions_interval_idx on app.alert_rule_versions ("interval");
-- What fires at once is watched by a process that reads its rules whenever any have changed.
create index if not exists alert_rule_versions_at_once_idx on app.alert_rule_versions (rule_id, version) where "trigger" = 'at_once';
-- Whoever writes quotes asks whether any rule names them.
create index if not exists alert_rule_versions_quotes_idx on app.alert_rule_versions (rule_id, version) where has_quotes;
-- What an evaluation has just recorded is shown with its run.
create index if not exists alerts_recorded_at_idx on app.alerts (recorded_at);
