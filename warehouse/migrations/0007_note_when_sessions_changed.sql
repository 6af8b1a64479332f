-- The triggers note it from now on; of what is there already it follows from the bars.
alter table if exists lake.bar_sessions add column if not exists revised_at timestamp with time zone;
do $$
begin
    if to_regclass('lake.bar_sessions') is not null then
        update lake.bar_sessions as known
        set revised_at = (
            select max(bars.revised_at)
            from lake.bars_1m as bars
            where bars.source = known.source
                and bars.symbol = known.symbol
                and bars.session_date = known.session_date
        );
    end if;
end
$$;
