-- Channels are told of the platform itself, and sent reports, if users say so.
do $$
begin
    if to_regclass('app.alert_channels') is not null then
        alter table app.alert_channels add column if not exists is_for_operators boolean not null default false;
        alter table app.alert_channels add column if not exists is_for_reports boolean not null default false;
        alter table app.alert_channels
            alter column is_for_operators drop default, alter column is_for_reports drop default;
    end if;
end
$$;
