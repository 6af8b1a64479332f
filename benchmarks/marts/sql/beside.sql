-- What stands beside the bars: the newest minutes in the lake, of which realtime_prices is a view, quotes, dividends, gaps,
-- and a comparison of each minute.
insert into lake.bars_1m (
    source, symbol, bar_at, session_date, segment, open, high, low, close, volume, notional, vwap, trade_count,
    excluded_trade_count, cancelled_trade_count, corrected_trade_count, revision, revised_at
)
select
    'made-up', symbol, bar_at, session_date, segment, open, high, low, close, volume, close * volume, vwap, 9,
    0, 0, 0, 1, now()
from marts.intraday_ohlcv
where interval = '1m';

insert into lake.latest_quotes (
    source, symbol, quoted_at, bid, bid_size, bid_at, bid_sequence, ask, ask_size, ask_at, ask_sequence
)
select distinct on (symbol) 'made-up', symbol, bar_at, close - 0.01, 100, bar_at, 1, close + 0.01, 100, bar_at, 1
from lake.bars_1m
order by symbol, bar_at desc;

insert into lake.corporate_actions (
    source, symbol, action, session_date, known_at, is_withdrawn, cash, topic, partition, "offset", ingested_at
)
select 'made-up', symbol, 'dividend', session_date, bar_at, false, 0.2, 't', 0, row_number() over (), now()
from marts.historical_ohlcv
where extract(month from session_date) in (2, 5, 8, 11)
    and extract(day from session_date) between 10 and 16
    and extract(dow from session_date) = 2;

insert into marts.bar_reconciliation (
    symbol, interval, bar_at, session_date, segment, origin, is_vendor_bar, other_origin, is_other_vendor_bar, agreement,
    open, high, low, close, volume, other_open, other_high, other_low, other_close, other_volume,
    open_difference, high_difference, low_difference, close_difference,
    open_difference_bps, high_difference_bps, low_difference_bps, close_difference_bps,
    volume_ratio, revised_at, other_revised_at, built_from
)
select
    symbol, interval, bar_at, session_date, segment, origin, false, 'vendor', true, 'agrees',
    open, high, low, close, volume, open, high, low, close, volume,
    0, 0, 0, 0, 0, 0, 0, 0, 1, now(), now(), gen_random_uuid()
from marts.intraday_ohlcv
where interval = '1m';

insert into staging.int_session_gaps (
    source, symbol, session_date, expected_bars, bar_count, untraded_bars, no_trade, halted, feed_down, not_collected,
    known_through_at, built_from
)
select
    'made-up', symbol, session_date, 390, 380, 0,
    case
        when random() < 0.2 then tstzmultirange(tstzrange(bar_at, bar_at + interval '10 minutes'))
        else '{}'
    end,
    '{}', '{}', '{}', bar_at, gen_random_uuid()
from marts.historical_ohlcv
where session_date >= '2012-04-09';
