"""The judge outside the system: all that was acknowledged is stored, all that is stored was sent, once, and every table is right.

What was sent is known from the journal, what the broker has from a plain consumer; rows and bars are worked out anew, one
message at a time, by :mod:`tests.faults.expected`. No code of the project takes part. ``verify`` is the second witness.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, Final

from tests.faults.expected import BAR_COLUMNS, Expected, Place, Row, Taken, expect, session_of
from tests.faults.journal import Journal
from tests.faults.stored import lake_rows, postgres_rows, topic_messages, topic_ranges, whole
from tests.faults.tape import MINUTE, SOURCE, Amendment, Quote, Trade, VendorBar

PLACE: Final = ("topic", "partition", "offset")
_SHOWN: Final = 5


@dataclass
class Verdict:
    """What breaks a law: per law some of the cases, and how many there are."""

    broken: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def forbid(self, law: str, cases: Iterable[object]) -> None:
        for case in cases:
            self.broken[law].append(str(case))

    def compare(self, what: str, found: Mapping[Any, Any], expected: Mapping[Any, Any]) -> None:
        """Forbid every difference between two mappings."""
        self.forbid(f"{what}: missing", (f"{key}: {expected[key]}" for key in expected.keys() - found.keys()))
        self.forbid(f"{what}: not expected", (f"{key}: {found[key]}" for key in found.keys() - expected.keys()))
        both = expected.keys() & found.keys()
        differing = (key for key in both if found[key] != expected[key])
        self.forbid(f"{what}: wrong", (f"{key}: {found[key]} instead of {expected[key]}" for key in differing))

    @property
    def laws(self) -> set[str]:
        return set(self.broken)

    def __str__(self) -> str:
        lines = [f"{law}: {len(cases)}, as {'; '.join(sorted(cases)[:_SHOWN])}" for law, cases in self.broken.items()]
        return "\n".join(line[:1_500] for line in lines) or "every law holds"


def judge(journal: Journal, servers: str, lake: str, database_url: str) -> Verdict:
    """Return what is wrong after the stream took in everything that the topics hold."""
    verdict = Verdict()
    bronze = {
        tuple(row[:3]): tuple(row[3:])
        for row in _unique(
            verdict, "bronze", lake_rows(lake, "bronze/messages", (*PLACE, "ingested_at", "key", "value"))
        )
    }
    _judge_bronze(verdict, journal, bronze, servers)
    meanings = journal.meanings()
    known = {place: row for place, row in bronze.items() if (place[0], row[2]) in meanings}
    expected = expect(Taken(place, row[0], meanings[place[0], row[2]]) for place, row in known.items())
    _judge_tables(verdict, lake, expected, {place: row[0] for place, row in bronze.items()})
    _judge_bars(verdict, lake, database_url, expected)
    _judge_postgres(verdict, database_url, expected, bronze)
    return verdict


def _unique(verdict: Verdict, table: str, rows: Sequence[Row]) -> Sequence[Row]:
    doubled = [place for place, count in Counter(row[:3] for row in rows).items() if count > 1]
    verdict.forbid(f"{table}: an offset more than once", doubled)
    return rows


def _judge_bronze(verdict: Verdict, journal: Journal, bronze: Mapping[Place, Row], servers: str) -> None:
    """Offsets without gaps, messages as they are on the broker, acknowledged ⊆ bronze ⊆ sent."""
    wanted = {
        (topic, partition, offset)
        for (topic, partition), (_, end) in topic_ranges(servers).items()
        for offset in range(end)
    }
    verdict.forbid("bronze: a gap in the offsets", wanted - bronze.keys())
    verdict.forbid("bronze: beyond the end of the topic", bronze.keys() - wanted)
    as_they_are = {place: row[1:] for place, row in bronze.items()}
    on_broker = topic_messages(servers)
    verdict.compare("bronze: messages", {place: as_they_are.get(place) for place in on_broker}, on_broker)
    stored = Counter((place[0], *row[1:]) for place, row in bronze.items())
    sent, acknowledged = Counter[Row](), Counter[Row]()
    for entry in journal.entries:
        message = entry.message
        what = (message.topic, message.key.encode(), message.value)
        sent[what] += 1
        acknowledged[what] += entry.acknowledged
    verdict.forbid("acknowledged and not in bronze", (acknowledged - stored).elements())
    verdict.forbid("in bronze and not sent", (stored - sent).elements())
    placed = {entry.place: entry.message.value for entry in journal.entries if entry.place}
    found = {place: bronze[place][2] for place in placed if place in bronze}
    verdict.compare("acknowledged at a place", found, placed)


_TABLES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "trades": (
        "silver/trades",
        ("symbol", "trade_id", "traded_at", "price", "size", "sequence", "source", "bar_at", "session_date", "segment"),
    ),
    "amendments": ("silver/amendments", ("symbol", "kind", "trade_id", "amended_at", "price", "size", "source")),
    "quotes": (
        "silver/quotes",
        (
            *("symbol", "quote_id", "quoted_at", "bid", "bid_size", "ask", "ask_size", "sequence"),
            *("source", "session_date", "segment"),
        ),
    ),
    "vendor_bars": (
        "silver/vendor_bars",
        ("symbol", "interval", "bar_at", "open", "high", "low", "close", "volume", "source", "session_date"),
    ),
    "duplicates": ("bronze/duplicates", ()),
    "quarantine": ("bronze/quarantine", ("reason",)),
}


def _judge_tables(verdict: Verdict, lake: str, expected: Expected, stamps: Mapping[Place, int]) -> None:
    """Each message is in one table, once, in the one where it belongs, with the right values and its batch's stamp."""
    everywhere: Counter[Place] = Counter()
    for name, (path, columns) in _TABLES.items():
        rows = _unique(verdict, name, lake_rows(lake, path, (*PLACE, "ingested_at", *columns)))
        everywhere.update(row[:3] for row in rows)
        found = {row[:3]: row[4:] for row in rows}
        verdict.compare(name, found, {place: _row(meaning) for place, meaning in getattr(expected, name).items()})
        verdict.forbid(f"{name}: a stamp of another batch", (row for row in rows if stamps.get(row[:3]) != row[3]))
    verdict.forbid("a message in no table", stamps.keys() - everywhere.keys())
    verdict.forbid("a message in several tables", (place for place, count in everywhere.items() if count > 1))


def _row(meaning: object) -> Row:
    """Return the values of a row as they were stated."""
    match meaning:
        case Trade(ts=ts):
            session = session_of(ts)
            row: Row = (*astuple(meaning), SOURCE, ts - ts % MINUTE, session.date, session.segment(ts))
        case Amendment(symbol, kind, ref_id, ts, price, size):
            row = (symbol, kind, ref_id, ts, price, size, SOURCE)
        case Quote(ts=ts):
            session = session_of(ts)
            row = (*astuple(meaning), SOURCE, session.date, session.segment(ts))
        case VendorBar(symbol, interval, ts, prices, volume):
            row = (symbol, interval, ts, *prices, volume, SOURCE, session_of(ts).date)
        case reason:
            row = () if reason is None else (reason,)
    return row


def _judge_bars(verdict: Verdict, lake: str, database_url: str, expected: Expected) -> None:
    """The newest revision of each bar, in the lake and in PostgreSQL, equals the recomputation; none is missing before it."""
    key, revision = ("symbol", "bar_at"), BAR_COLUMNS.index("revision")
    revisions: defaultdict[Row, dict[int, Row]] = defaultdict(dict)
    rows = lake_rows(lake, "gold/bar_revisions_1m", (*key, *BAR_COLUMNS))
    for row in rows:
        revisions[row[:2]][row[2 + revision]] = row[2:]
    verdict.forbid("bars: a revision more than once", range(len(rows) - sum(map(len, revisions.values()))))
    gaps = (bar for bar, own in revisions.items() if sorted(own) != list(range(1, len(own) + 1)))
    verdict.forbid("bars: a gap in the revisions", gaps)
    verdict.compare("bars in the lake", {bar: own[max(own)] for bar, own in revisions.items()}, expected.bars)
    published = postgres_rows(database_url, "lake.bars_1m", (*key, *BAR_COLUMNS), f"source = '{SOURCE}'")
    texts = {0, 1}
    found = {
        row[:2]: tuple(value if at in texts else whole(value) for at, value in enumerate(row[2:])) for row in published
    }
    verdict.compare("bars in PostgreSQL", found, expected.bars)


def _judge_postgres(verdict: Verdict, url: str, expected: Expected, bronze: Mapping[Place, Row]) -> None:
    """Offsets, counts, quotes and vendor bars in PostgreSQL are those of the ledger."""
    ends: defaultdict[tuple[str, int], int] = defaultdict(int)
    for topic, partition, offset in bronze:
        ends[topic, partition] = max(ends[topic, partition], offset + 1)
    offsets = postgres_rows(url, "lake.stream_offsets", ("topic", "partition", "next_offset"))
    verdict.compare("offsets in PostgreSQL", {row[:2]: row[2] for row in offsets}, dict(ends))
    counts = {
        "messages": len(bronze),
        "trades": len(expected.trades),
        "amendments": len(expected.amendments),
        "quotes": len(expected.quotes),
        "vendor_bars": len(expected.vendor_bars),
        "quarantined": len(expected.quarantine),
        "duplicates": len(expected.duplicates),
    }
    batches = postgres_rows(url, "lake.stream_batches", tuple(counts))
    totals = {name: sum(row[at] for row in batches) for at, name in enumerate(counts)}
    verdict.compare("counts in PostgreSQL", totals, counts)
    sides = tuple(f"{side}{part}" for side in ("bid", "ask") for part in ("", "_size", "_at", "_sequence"))
    quotes = postgres_rows(url, "lake.latest_quotes", ("symbol", "quoted_at", *sides))
    verdict.compare("latest quotes", {row[0]: tuple(map(whole, row[1:])) for row in quotes}, expected.latest_quotes)
    minutes = postgres_rows(
        url, "lake.quotes_1m", ("symbol", "bar_at", "session_date", "segment", *sides, "revised_at")
    )
    found = {(symbol, whole(bar_at)): tuple(map(whole, row)) for symbol, bar_at, *row in minutes}
    verdict.compare("quotes of minutes", found, expected.minute_quotes)
    names = (
        "symbol",
        "interval",
        "bar_at",
        "open",
        "high",
        "low",
        "close",
        "volume",
        "partition",
        "offset",
        "revision",
    )
    bars = postgres_rows(url, "lake.vendor_bars", names)
    found = {row[:3]: tuple(map(whole, row[3:])) for row in bars}
    verdict.compare("vendor bars in PostgreSQL", found, expected.newest_vendor_bars)
