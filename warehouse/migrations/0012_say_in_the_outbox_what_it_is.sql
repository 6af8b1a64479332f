-- The relay takes what is next from the outbox alone: kind, the alert that is taken back, and event time are there too.
do $$
begin
    if to_regclass('app.alert_outbox') is not null then
        alter table app.alert_outbox add column if not exists kind text;
        alter table app.alert_outbox add column if not exists refers_to uuid;
        alter table app.alert_outbox add column if not exists triggered_at timestamp with time zone;
        update app.alert_outbox as outbox
        set kind = alerts.kind, refers_to = alerts.refers_to, triggered_at = alerts.triggered_at
        from app.alerts as alerts
        where alerts.alert_id = outbox.alert_id and outbox.kind is null;
        alter table app.alert_outbox alter column kind set not null, alter column triggered_at set not null;
        drop index if exists app.alert_outbox_pending_idx;
    end if;
end
$$;
