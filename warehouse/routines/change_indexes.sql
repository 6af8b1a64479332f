-- What changed since a moment is found by these: block ranges, which cost the stream next to nothing.
create index if not exists bars_1m_revised_at_idx on lake.bars_1m using brin (revised_at);
create index if not exists vendor_bars_ingested_at_idx on lake.vendor_bars using brin (ingested_at);
create index if not exists quotes_1m_revised_at_idx on lake.quotes_1m using brin (revised_at);
