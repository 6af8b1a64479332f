-- What a source has for other plans only is remembered with its time: else each run spends the key's requests on it.
do $$
begin
    if to_regclass('app.collected_history') is not null then
        alter table app.collected_history add column if not exists withheld tstzmultirange;
        alter table app.collected_history add column if not exists withheld_at timestamp with time zone;
    end if;
end
$$;
