-- What the relay asks of a channel before each message: what is to be sent next, and how much went out in the last hour.
create index if not exists alert_outbox_pending_idx on app.alert_outbox (channel, created_at) where status = 'pending';
create index if not exists alert_outbox_delivered_idx on app.alert_outbox (channel, delivered_at) where status = 'delivered';
create index if not exists alert_digests_pending_idx on app.alert_digests (channel, next_attempt_at) where status = 'pending';
create index if not exists alert_held_digest_idx on app.alert_held (digest_id);
revoke all on app.alert_channels from public;
