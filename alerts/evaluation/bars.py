"""The bars that are looked at, with the values that rules ask for, as SQL.

What belongs here: which bars of a mart, and what each field is worked out from. What does not: what rules make of them.
"""

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from alerts.rules.fields import QUOTES, fields_of

INTRADAY: Final = "intraday_analytics"
DAILY: Final = "daily_analytics"

_WINDOW: Final = re.compile(r"(average|highest|lowest|change|difference)\((\w+), (\d+)\)")
LENGTHS: Final = (
    "case {}.interval when '1m' then 1 when '5m' then 5 when '15m' then 15 when '1h' then 60 "
    "else 1440 end * interval '1 minute'"
)
"""How long a bar is; the alias of what has its interval is to be put in."""
_BAR: Final = ("open", "high", "low", "close", "volume")
_OF_BARS: Final = (
    *("symbol", "interval", "bar_at", "session_date", "segment", "is_final", "revision", "origin", "is_vendor_bar"),
    *("revised_at", "bar_number"),
)


@dataclass(frozen=True, slots=True)
class Mart:
    """A mart of bars.

    Attributes
    ----------
    name
        Its name in the schema ``marts``.
    series
        The column that, with the interval, names a series.
    bar_end
        When a bar of it ends; ``rows`` are its rows, ``sessions`` those of the calendar.
    is_closed
        Whether no trade is to come for a bar; ``tapes`` says how far feeds are.
    has_quotes
        Whether its bars have quotes.
    """

    name: str
    series: str
    bar_end: str
    is_closed: str
    has_quotes: bool


_INTRADAY_END: Final = (
    f"least(rows.bar_at + {LENGTHS.format('rows')}, case rows.segment when 'pre' then sessions.open_at "
    "when 'regular' then sessions.close_at else sessions.post_close_at end)"
)
MARTS: Final[Mapping[str, Mart]] = {
    INTRADAY: Mart(
        INTRADAY,
        "symbol",
        _INTRADAY_END,
        f"rows.is_final or rows.is_vendor_bar or coalesce(tapes.tape_at >= {_INTRADAY_END}, false)",
        has_quotes=True,
    ),
    DAILY: Mart(DAILY, "company", "sessions.close_at", "rows.is_final", has_quotes=False),
}

# The last bid, or ask, that the bar's own feed named within it: the one of its last minute that has one.
_SIDE: Final = f"""
    left join lateral (
        select quotes.{{side}} from lake.quotes_1m as quotes
        where quotes.source = rows.origin and quotes.symbol = rows.symbol and not rows.is_vendor_bar
            and quotes.bar_at >= rows.bar_at and quotes.bar_at < rows.bar_at + {LENGTHS.format("rows")}
            and quotes.segment = rows.segment and quotes.{{side}} is not null
        order by quotes.bar_at desc limit 1
    ) as {{side}}s on true"""  # noqa: S608 - declared names
_QUOTED: Final = """), quoted as (
    select rows.*{columns}
    from rows{sides}
), quote_tapes as (
    select sources.origin as source, (
        select max(quotes.bar_at) from lake.quotes_1m as quotes where quotes.source = sources.origin
    ) as quoted_at
    from (select distinct origin from rows where not is_vendor_bar) as sources
"""
# A quote of a later minute has come, of any symbol; a vendor's bar has no quotes.
_IS_QUOTED: Final = "rows.is_final or rows.is_vendor_bar or coalesce(quote_tapes.quoted_at >= {end}, false)"


def longest_window(fields: Sequence[str]) -> int:
    """Return how many bars back the fields reach at most; 1 is the bar before."""
    return max([1, *(int(found.group(3)) for name in fields if (found := _WINDOW.fullmatch(name.removesuffix("!"))))])


def known_from(name: str, mart: Mart) -> int:
    """Return from which bar of a series on a field no longer depends on where the series begins."""
    plain = name.removesuffix("!")
    found = _WINDOW.fullmatch(plain)
    column, back = (found.group(2), int(found.group(3))) if found else (plain, 0)
    field = fields_of(mart.name).get(column)
    return back + (1 if field is None or field.stable_from is None else field.stable_from)


def bars_query(mart: Mart, fields: Mapping[int, str]) -> str:
    """Return the query of the bars of the changed series with their values.

    It reads ``changed``: series, interval, from_at, judged_from. Its columns are those of the bar, ``series``, ``bar_end``,
    ``is_closed``, ``is_quoted`` (whether no quote is to come for it), ``now`` and ``before``.

    Parameters
    ----------
    mart
        The mart.
    fields
        The fields by number, from 1 on without a gap.
    """
    bases: dict[str, str] = {}
    values = [_value(name, mart, bases) for _, name in sorted(fields.items())]
    columns = (*_OF_BARS, *_BAR)
    named = _named(mart, fields)
    needed = needed_columns(mart, fields)
    with_quotes = mart.has_quotes and not named.isdisjoint(QUOTES)
    listed = ", ".join(f'"{name}"' for name in needed)
    same = f"{mart.series} = changed.series and interval = changed.interval"
    passed = ", ".join(f'rows."{name}"' for name in columns)
    based = "".join(f",\n        {expression} as {name}" for name, expression in bases.items())
    array = f"array[{', '.join(values)}]::double precision[]" if values else "'{}'::double precision[]"
    window = "partition by series, interval order by bar_at"
    return f"""
with rows as (
    select changed.series, changed.from_at, changed.judged_from, found.*
    from changed cross join lateral (
        (select {listed} from marts.{mart.name} where {same} and bar_at >= changed.judged_from)
        union all
        (
            select {listed} from marts.{mart.name} where {same} and bar_at < changed.judged_from
            order by bar_at desc limit {longest_window(list(fields.values())) + 1}
        )
    ) as found
    where changed.judged_from is not null
{_quoted(named) if with_quotes else ""}), based as (
    select rows.series, rows.from_at, rows.judged_from, {passed}{based}
    from {"quoted as rows" if with_quotes else "rows"}
    window series as (partition by rows.series, rows.interval order by rows.bar_at)
), valued as (
    select based.*, {array} as now from based window series as ({window})
), compared as (
    select valued.*, lag(now) over (window_before) as before from valued
    window window_before as ({window})
)
select
    rows.*,
    {mart.bar_end} as bar_end,
    {mart.is_closed} as is_closed,
    {_IS_QUOTED.format(end=mart.bar_end) if with_quotes else "true"} as is_quoted
from compared as rows
inner join lake.sessions on rows.session_date = sessions.session_date
left join staging.built_tapes as tapes on tapes.mart = '{mart.name}' and tapes.source = rows.origin
{"left join quote_tapes on quote_tapes.source = rows.origin" if with_quotes else ""}
where rows.bar_at >= rows.judged_from
"""  # noqa: S608 - declared names and expressions of our own


def _quoted(named: AbstractSet[str]) -> str:
    """Return the rows with the quotes that are named: each side is looked up by itself, which is most of the work."""
    sides = [side for side in ("bid", "ask") if named & {side, "spread"}]
    columns = [f", {side}s.{side}" for side in sides] + [", asks.ask - bids.bid as spread"] * ("spread" in named)
    return _QUOTED.format(columns="".join(columns), sides="".join(_SIDE.format(side=side) for side in sides))


def needed_columns(mart: Mart, fields: Mapping[int, str]) -> list[str]:
    """Return the columns that :func:`bars_query` reads of a mart: a period that was just added makes one when it is built."""
    return sorted({*_OF_BARS, *_BAR, *(_named(mart, fields) - set(QUOTES))})


def _named(mart: Mart, fields: Mapping[int, str]) -> set[str]:
    """Return the fields of a mart that are asked for."""
    return _columns_of(fields) & set(fields_of(mart.name))


def column_of(field: str) -> str:
    """Return the column that a field is of: ``close`` of ``average(close, 5)!``."""
    plain = field.removesuffix("!")
    found = _WINDOW.fullmatch(plain)
    return found.group(2) if found else plain


def _columns_of(fields: Mapping[int, str]) -> set[str]:
    return {column_of(name) for name in fields.values()} - {"gap"}  # made of open and close


def _value(name: str, mart: Mart, bases: dict[str, str]) -> str:
    """Return the expression of a field over ``based``, and add to ``bases`` what it is made of; null if the mart lacks it."""
    plain, ending = name.removesuffix("!"), "!" if name.endswith("!") else ""
    found = _WINDOW.fullmatch(plain)
    column = found.group(2) if found else plain
    if column not in fields_of(mart.name):
        return "null"
    base = f"value_{column}{'_raw' if ending else ''}"
    bases[base] = _base(column, mart, is_raw=bool(ending))
    if not found:
        return base
    function, bars = found.group(1), int(found.group(3))
    frame = f"over (series rows between {bars} preceding and 1 preceding)"
    earlier = f"lag({base}, {bars}) over series"
    is_whole = f"count({base}) {frame} = {bars}"
    return {
        "average": f"case when {is_whole} then sum({base}) {frame} / {bars} end",
        "highest": f"case when {is_whole} then max({base}) {frame} end",
        "lowest": f"case when {is_whole} then min({base}) {frame} end",
        # Of a value below zero the percent is of its size. Beside next to nothing it is no number.
        "change": f"case when abs({earlier}) > 1e-100 then 100 * ({base} / {earlier} - 1) * sign({earlier}) end",
        "difference": f"{base} - {earlier}",
    }[function]


def _base(column: str, mart: Mart, *, is_raw: bool) -> str:
    if column == "gap":
        return "100 * (rows.open::double precision / nullif(lag(rows.close) over series, 0)::double precision - 1)"
    value = f'rows."{column}"::double precision'
    stable_from = fields_of(mart.name)[column].stable_from
    if is_raw or stable_from == 1:
        return value
    if stable_from is None:
        return "null::double precision"
    return f"case when rows.bar_number >= {stable_from} then {value} end"
