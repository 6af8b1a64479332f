-- What the relay asks of a channel before each message: what is to be sent next, what stands of the alert that a retraction
-- takes back, and how much went out in the last hour. Each is answered by a few rows of an index, however much is waiting.
create index if not exists alert_outbox_next_idx on app.alert_outbox (channel, created_at, triggered_at, delivery_id)
where status = 'pending';
create index if not exists alert_outbox_alert_idx on app.alert_outbox (alert_id, channel);
create index if not exists alert_outbox_refers_idx on app.alert_outbox (refers_to, channel) where kind = 'retraction';
create index if not exists alert_outbox_delivered_idx on app.alert_outbox (channel, delivered_at) where status = 'delivered';
create index if not exists alert_digests_pending_idx on app.alert_digests (channel, next_attempt_at) where status = 'pending';
create index if not exists alert_held_digest_idx on app.alert_held (digest_id);
revoke all on app.alert_channels from public;
-- Which incidents are open is asked every minute.
create index if not exists notices_refers_idx on app.notices (refers_to) where refers_to is not null;
create index if not exists notices_subject_idx on app.notices (subject, recorded_at);
