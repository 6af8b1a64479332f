"""The first page: the newest outcome of every table, readable from a file, without a network, and on a phone.

Great Expectations' own first page is made by scripts that it loads from the internet, and is empty without: a list of its other
pages takes its place, and the newest one of each table is linked from here.
"""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from quality.outcomes import Outcome

PAGE: Final = "index.html"

_NEWEST: Final = "newest.json"
_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 1rem auto; padding: 0 1rem; }
body { color: #1a1a1a; background: #fff; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.broken { color: #a40000; font-weight: 600; }
code { font-size: .85em; }
@media (prefers-color-scheme: dark) {
  body { color: #e8e8e8; background: #161616; } th, td { border-color: #444; } .broken { color: #ff8a80; } a { color: #8ab4f8; }
}
"""


def write_overview(folder: Path, outcomes: Sequence[Outcome]) -> Path:
    """Write the page with these outcomes in place of older ones of the same tables, and return it.

    A table of which nothing changed keeps the outcome that it has.
    """
    newest = _read(folder)
    looked_at = datetime.now(UTC).isoformat(timespec="seconds")
    for outcome in outcomes:
        if outcome.rows or outcome.table not in newest or newest[outcome.table]["broken"]:
            newest[outcome.table] = {
                "looked_at": looked_at,
                "rows": outcome.rows,
                "expectations": outcome.expectations,
                "broken": [
                    {
                        "says": one.says,
                        "rows": one.rows,
                        "examples": [
                            ", ".join(f"{name} {value}" for name, value in row.items()) for row in one.examples
                        ],
                    }
                    for one in outcome.broken
                ],
            }
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / _NEWEST, json.dumps(newest, indent=1))
    return _replace(folder / PAGE, _render(folder, newest))


def write_list(path: Path) -> Path:
    """Write a page with a link to every other page of its folder and of those within, and return it."""
    pages = sorted(page.relative_to(path.parent) for page in path.parent.rglob("*.html") if page != path)
    rows = "\n".join(
        f'<li><a href="{escape(quote(page.as_posix()))}">{escape(page.as_posix())}</a></li>' for page in pages
    )
    says = "What each table is held against, and the last outcomes of each, by when they were found."
    return _replace(
        path, _page("Quality: all pages", f'<p>{says} <a href="../{PAGE}">The newest ones</a></p>\n<ul>\n{rows}\n</ul>')
    )


def _read(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / _NEWEST).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found


def _render(folder: Path, newest: Mapping[str, Mapping[str, Any]]) -> str:
    order = sorted(newest, key=lambda table: (not newest[table]["broken"], table))
    rows = "\n".join(_row(folder, table, newest[table]) for table in order)
    broken = sum(bool(one["broken"]) for one in newest.values())
    says = (
        f"{broken} of {len(newest)} tables have values that are not possible." if broken else "All values are possible."
    )
    head = "".join(
        f"<th{' class=number' if name in {'rows', 'expectations'} else ''}>{name}</th>"
        for name in ("table", "looked at, UTC", "rows", "expectations", "holds")
    )
    earlier = folder / "pages" / PAGE
    link = f' <a href="{earlier.relative_to(folder).as_posix()}">All pages</a>' if earlier.exists() else ""
    return _page(
        "Quality",
        f"<p>{says} The newest look at each table that had changed rows.{link}</p>\n"
        f"<div class=wide><table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>",
    )


def _page(title: str, body: str) -> str:
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        f'<meta name=viewport content="width=device-width, initial-scale=1"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n{body}\n</body></html>\n"
    )


def _row(folder: Path, table: str, outcome: Mapping[str, Any]) -> str:
    pages = sorted((folder / "pages" / "validations").glob(f"{table.replace('.', '/')}/*/*/*.html"))
    name = escape(table)
    link = f'<a href="{escape(pages[-1].relative_to(folder).as_posix())}">{name}</a>' if pages else name
    verdict = "yes" if outcome["rows"] else "nothing yet"
    if outcome["broken"]:
        verdict = "".join(
            f"<div><span class=broken>{escape(one['says'])}: not so in {one['rows']:,} row{'s' * (one['rows'] != 1)}</span><br>"
            + "<br>".join(f"<code>{escape(row)}</code>" for row in one["examples"])
            + "</div>"
            for one in outcome["broken"]
        )
    return (
        f"<tr><td>{link}</td><td>{escape(outcome['looked_at'][:16].replace('T', ' '))}</td>"
        f"<td class=number>{outcome['rows']:,}</td><td class=number>{outcome['expectations']}</td><td>{verdict}</td></tr>"
    )


def _replace(path: Path, text: str) -> Path:
    """Write a file at once: who reads it meanwhile reads the old one."""
    new = path.with_suffix(f".{os.getpid()}.new")  # another look may be writing it, too
    new.write_text(text)
    return new.replace(path)
