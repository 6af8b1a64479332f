"""Alpaca's corporate actions as a source: splits, stock dividends and cash dividends of American shares.

Changes of name are not taken: Alpaca gives a company's bars under its symbol of today, also those of before a change. It does not
say when an action was announced. See https://docs.alpaca.markets/reference/corporateactions-1.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any, Final, NoReturn

from alpaca.common.exceptions import APIError
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from requests.exceptions import InvalidJSONError, RequestException

from ingest.actions.source import NAMELESS, Listed, Listing, Range, is_split, start_of
from ingest.feeds.alpaca.client import RefusedError, Timeouts, failure_of, without_refused
from ingest.feeds.alpaca.history import AlpacaHistory
from ingest.feeds.alpaca.parse import SOURCE
from ingest.history.source import Limit, Problem, SourceBusyError, SourceError
from market.records import MAX_PRICE, PRICE_DECIMALS, CorporateAction, Dividend, Split
from market.settings import Settings

_PATH: Final = "/corporate-actions"
_TYPES: Final = ("forward_split", "reverse_split", "stock_dividend", "cash_dividend")
_PAGE: Final = 1_000
_MOST_CHARACTERS: Final = 200
_ALL: Final = {f"{kind}s": kind for kind in _TYPES}
"""What the lists of an answer are called."""


class _BadActionError(ValueError):
    """An element of a list is no action; the text says why."""


class _Client(CorporateActionsClient):
    """The vendor's client, but each page is asked for by us, a request ends in time, and is never repeated in here."""

    def __init__(self, key_id: str, secret_key: str, url: str, timeouts: Timeouts) -> None:
        super().__init__(key_id, secret_key, raw_data=True, url_override=url.rstrip("/"))
        self._secrets = (key_id, secret_key)
        self._timeouts = timeouts

    def pages(self, fields: Mapping[str, Any], pace: Callable[[], None]) -> Iterator[Mapping[str, Any]]:
        """Yield page by page the lists of actions, as they are in the JSON."""
        asked: dict[str, Any] = {**fields, "limit": _PAGE}
        seen: set[str] = set()
        while True:
            pace()
            page = self._page(asked)
            yield page["corporate_actions"]
            token = page.get("next_page_token")
            if not isinstance(token, str | None):
                raise _half_a_page(self._without_keys(f"next_page_token {token!r}"))
            if not token:
                return
            if token in seen:
                msg = "Alpaca names a page as the next one that it has answered already: its pages have no end."
                raise SourceBusyError(msg)
            seen.add(token)
            asked["page_token"] = token

    def _one_request(self, method: str, url: str, opts: dict[str, Any], retry: int) -> Any:  # noqa: ANN401, ARG002 - the library's
        timeout = (self._timeouts.connect_seconds, self._timeouts.read_seconds)
        return super()._one_request(method, url, {**opts, "timeout": timeout}, retry=0)

    def _page(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            page: Any = self.get(_PATH, dict(fields))
        except APIError as error:
            # the error's own text is the body, which may repeat what was sent
            raise failure_of(error.response, self._base_url, self._without_keys) from None
        except (InvalidJSONError, RecursionError, ValueError) as error:
            raise _half_a_page(type(error).__name__) from error
        except RequestException as error:
            msg = f"Alpaca did not answer: {self._without_keys(str(error))}"
            raise SourceBusyError(msg) from error
        lists = page.get("corporate_actions") if isinstance(page, dict) else None
        if not isinstance(lists, dict) or not all(isinstance(found, list) for found in lists.values()):
            raise _half_a_page(self._without_keys(repr(page)))
        return dict(page)

    def _without_keys(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join(text.split())[:_MOST_CHARACTERS]


class AlpacaActions:
    """Splits and dividends of all American shares.

    Parameters
    ----------
    settings
        Say the keys and the address.
    timeouts
        How long a request may take.
    """

    name = SOURCE
    limit = Limit(requests=200, seconds=60.0)
    symbols_per_ask = 50

    def __init__(self, settings: Settings, timeouts: Timeouts | None = None) -> None:
        self._settings = settings
        self._timeouts = timeouts or Timeouts()

    def check(self) -> None:
        """Look whether both keys are set.

        Raises
        ------
        SourceError
            If one is not set, or holds what no key can.
        """
        AlpacaHistory(self._settings).check()

    def symbols(self) -> tuple[str, ...] | None:
        """Return ``None``: it has all."""
        return None

    def fetch(self, symbols: Sequence[str], within: Range, pace: Callable[[], None]) -> Listing:
        """Ask page by page, again without the symbols that it is refused for. Alpaca says nothing of others it does not know."""
        self.check()
        key_id, secret = self._settings.alpaca_key_id, self._settings.alpaca_secret_key
        client = _Client(
            key_id.get_secret_value() if key_id else "",
            secret.get_secret_value() if secret else "",
            self._settings.alpaca_url,
            self._timeouts,
        )
        listing, unknown = without_refused(
            symbols, lambda left: _listing(client.pages(_fields(left, within), pace), left), _refused
        )
        return replace(listing or Listing(()), unknown=unknown)


def _fields(symbols: Sequence[str], within: Range) -> dict[str, str]:
    days = {"start": within.first.isoformat(), "end": within.last.isoformat()}
    return {"symbols": ",".join(symbols), "types": ",".join(_TYPES), **days}


def _listing(pages: Iterable[Mapping[str, Sequence[object]]], symbols: Sequence[str]) -> Listing:
    listed, problems = parse_actions(pages)
    wanted = {*symbols, NAMELESS}
    return Listing(
        [item for item in listed if item.action.symbol in wanted],
        [problem for problem in problems if problem.symbol in wanted],
    )


def _refused(error: RefusedError, symbols: Sequence[str]) -> NoReturn:
    # Requests differ in their symbols only: what is not said of one of these holds for all.
    del symbols
    raise SourceError(str(error)) from error


@dataclass(frozen=True, slots=True)
class _Element:
    """An element of a list: its action, or why it is none, as far as that can be told with its symbol and its day."""

    kind: str
    symbol: str
    day: str
    item: Listed | None = None
    wrong: Problem | None = None


def parse_actions(pages: Iterable[Mapping[str, Sequence[object]]]) -> tuple[list[Listed], list[Problem]]:
    """Return the actions of all pages, and what is wrong with elements that are none.

    Pages overlap when something is added between two requests, so an element counts once: by its ``id``, or by all it says if
    it has none. Two of one ``id`` that differ both do not count. All cash of a symbol and a day is one dividend, for regular and
    special ones come apart; if one of them does not count, none of that day does: the rest would be too little.
    """
    said: dict[tuple[str, str], list[_Element]] = {}
    for lists in pages:
        for name, kind in _ALL.items():
            for raw in lists.get(name) or ():
                of_id = said.setdefault((kind, _identity(raw)), [])
                if (element := _element(raw, kind)) not in of_id:
                    of_id.append(element)
    elements: list[_Element] = []
    for (kind, identity), of_id in said.items():
        elements += of_id if len(of_id) == 1 else _contradicting(kind, identity, of_id)
    wrong = [element for element in elements if element.wrong is not None]
    in_doubt = {(element.symbol, element.day) for element in wrong if element.kind == "cash_dividend"}
    listed = [element.item for element in elements if element.item is not None]
    return _summed(listed, in_doubt), [element.wrong for element in wrong if element.wrong is not None]


def _identity(raw: object) -> str:
    identity = raw.get("id") if isinstance(raw, Mapping) else None
    return f"id {identity}" if identity else json.dumps(raw, sort_keys=True)


def _element(raw: object, kind: str) -> _Element:
    fields = raw if isinstance(raw, Mapping) else {}
    symbol = fields.get("symbol")
    if not isinstance(symbol, str) or not symbol.strip():
        text = f"{kind} without a symbol: {raw!r}"[:_MOST_CHARACTERS]
        return _Element(kind, NAMELESS, "", wrong=Problem(NAMELESS, "unplaced_row", text))
    day = str(fields.get("ex_date", ""))
    try:
        return _Element(kind, symbol, day, Listed(_action(fields, kind)))
    except _BadActionError as error:
        return _Element(kind, symbol, day, wrong=Problem(symbol, "bad_action", f"{kind}: {error}"))


def _contradicting(kind: str, identity: str, elements: Sequence[_Element]) -> list[_Element]:
    text = f"{kind}: there are {len(elements)} that differ with the {identity}"[:_MOST_CHARACTERS]
    places = dict.fromkeys((element.symbol, element.day) for element in elements)
    return [_Element(kind, symbol, day, wrong=Problem(symbol, "contradicts_itself", text)) for symbol, day in places]


def _summed(listed: Sequence[Listed], in_doubt: Collection[tuple[str, str]]) -> list[Listed]:
    """Return the actions with all cash of a symbol and a day as one dividend, but for the cash of days in doubt."""
    cash: dict[tuple[str, str], Dividend] = {}
    others: list[Listed] = []
    for item in listed:
        action = item.action
        if not isinstance(action, Dividend):
            others.append(item)
            continue
        key = (action.symbol, action.effective_date)
        if key in in_doubt:
            continue
        before = cash[key].cash if key in cash else Decimal(0)
        cash[key] = Dividend(action.source, action.symbol, action.ts, action.effective_date, before + action.cash)
    return [*others, *map(Listed, cash.values())]


def _action(raw: Mapping[str, object], kind: str) -> CorporateAction:
    try:
        day = date.fromisoformat(str(raw["ex_date"]))
        symbol = str(raw["symbol"])
        base = (SOURCE, symbol, start_of(day), day.isoformat())
        match kind:
            case "cash_dividend":
                return Dividend(*base, _positive(raw, "rate"))
            case "stock_dividend":  # so many new shares for each
                return _split(base, 1 + _positive(raw, "rate"), Decimal(1))
            case _:
                return _split(base, _positive(raw, "new_rate"), _positive(raw, "old_rate"))
    except (KeyError, ValueError) as error:
        raise _BadActionError(f"{error} in {dict(raw)!r}"[:_MOST_CHARACTERS]) from error


def _split(base: tuple[str, str, int, str], new: Decimal, old: Decimal) -> Split:
    if not is_split(new, old):
        raise ValueError(f"{new} for {old} is no split")  # noqa: EM102
    return Split(*base, new, old)


def _positive(raw: Mapping[str, object], name: str) -> Decimal:
    """Return a number by its shortest decimal form: that is what the vendor wrote."""
    value = raw[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is {value!r}")  # noqa: TRY004, EM102
    number = round(Decimal(repr(value)), PRICE_DECIMALS) if value == value and abs(value) < MAX_PRICE else Decimal(0)  # noqa: PLR0124
    if number <= 0:
        raise ValueError(f"{name} is {value!r}")  # noqa: EM102
    return number


def _half_a_page(what: str) -> SourceBusyError:
    return SourceBusyError(
        f"Alpaca's answer is not a page of actions ({what}). If it stays so, see whether TAPEHOUSE_ALPACA_URL is right."
    )
