-- A symbol may have been unknown by mistake: what was remembered of it then is asked for once more, and again once it is known.
do $$
begin
    if to_regclass('app.collected_history') is not null then
        alter table app.collected_history add column if not exists without_bars tstzmultirange;
        alter table app.collected_history add column if not exists without_bars_at timestamp with time zone;
        alter table app.collected_history add column if not exists unknown tstzmultirange;
        update app.collected_history
        set unknown = covered, without_bars = covered, without_bars_at = asked_at
        where is_unknown;
    end if;
end
$$;
