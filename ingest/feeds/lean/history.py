"""The bars of a LEAN data folder as a source of history: daily and by the minute, as traded.

The layout: ``equity/usa/daily/<symbol>.zip`` and ``equity/usa/minute/<symbol>/<yyyymmdd>_trade.zip``, each with one CSV file
without a header. A daily row is the date, open, high, low, close and volume; a minute's row has milliseconds since midnight New
York in place of the date. Prices are x 10,000.
"""

import io
from collections.abc import Callable, Mapping
from datetime import datetime, time
from pathlib import Path
from typing import Final

import polars as pl

from ingest.feeds.lean.client import content_of
from ingest.history.frames import BAR_SCHEMA, PRICES, BarFrames, opens_of
from ingest.history.source import Answer, Ask, Limit, Offer, Problem, SourceError
from market.errors import FeedError
from market.records import DAILY
from market.sessions import EXCHANGE_ZONE, Session

MINUTE: Final = "1m"
_COLUMNS: Final = ("at", *PRICES, "volume")
_OPEN: Final = opens_of(pl.col("at").str.slice(0, 8).str.to_date("%Y%m%d", strict=False))
_OFFERS: Final = {DAILY: Offer(DAILY, symbols_per_ask=20), MINUTE: Offer(MINUTE, sessions_per_ask=250)}


class LeanHistory:
    """The daily bars and the minutes of a LEAN data folder.

    Parameters
    ----------
    path
        The folder that holds ``equity``.
    """

    name = "lean"
    limit: Limit | None = None
    at_once = 1

    def __init__(self, path: Path) -> None:
        self._folder = path / "equity" / "usa"

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Daily bars and minutes."""
        return _OFFERS

    def check(self) -> None:
        """Look whether the folder is there.

        Raises
        ------
        SourceError
            If not.
        """
        if not (self._folder / "daily").is_dir() and not (self._folder / "minute").is_dir():
            msg = f"{self._folder} has neither daily nor minute: it is not of a LEAN data folder with bars. Give another --path."
            raise SourceError(msg)

    def symbols(self) -> None:
        """Return nothing: without symbols the watchlist's are meant, for a folder may be of the whole market."""

    def misnamed(self) -> tuple[Problem, ...]:
        """Return nothing: files have the names of symbols."""
        return ()

    def fetch(self, ask: Ask, pace: Callable[[], None]) -> Answer:
        """Return the bars of the files."""
        del pace  # nobody is asked
        return self.read(ask).answer(ask)

    def read(self, ask: Ask) -> BarFrames:
        """Read the files of some symbols; one that is damaged is a problem of its symbol, and the others are read."""
        frames, known, problems = [pl.DataFrame(schema=BAR_SCHEMA)], set(), []
        for symbol in ask.symbols:
            for path, ts in self._files(symbol, ask):
                known.add(symbol)
                try:
                    frames.append(_read(path, symbol, ts))
                except (FeedError, pl.exceptions.PolarsError) as error:
                    problems.append(Problem(symbol, "damaged_file", _named(path, error)))
            if ask.interval != DAILY and (self._folder / "minute" / symbol.lower()).is_dir():
                known.add(symbol)
        return BarFrames.of(self.name, pl.concat(frames), known=known, problems=problems)

    def _files(self, symbol: str, ask: Ask) -> list[tuple[Path, pl.Expr]]:
        """Return the files of a symbol that are there, each with when its rows begin."""
        if ask.interval == DAILY:
            files = [(self._folder / "daily" / f"{symbol.lower()}.zip", _OPEN)]
        else:
            folder = self._folder / "minute" / symbol.lower()
            files = [(folder / f"{day.session_date:%Y%m%d}_trade.zip", _minute_of(day)) for day in ask.sessions]
        return [(path, ts) for path, ts in files if path.is_file()]


def _minute_of(session: Session) -> pl.Expr:
    midnight = datetime.combine(session.session_date, time(), EXCHANGE_ZONE)
    return pl.col("at").cast(pl.Int64, strict=False) * 1_000 + round(midnight.timestamp()) * 1_000_000


def _named(path: Path, error: Exception) -> str:
    """Return what is wrong with a file, with its name, on one line."""
    text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return text if str(path) in text else f"{path} cannot be read: {text}. Get the file again."


def _read(path: Path, symbol: str, ts: pl.Expr) -> pl.DataFrame:
    raw = pl.read_csv(io.BytesIO(content_of(path)), has_header=False, schema=dict.fromkeys(_COLUMNS, pl.String()))
    row = pl.concat_str(pl.col(_COLUMNS).fill_null(""), separator=",")
    number = pl.int_range(pl.len(), dtype=pl.Int64) + 1
    bars = raw.select(
        pl.lit(symbol).alias("symbol"),
        ts.alias("ts"),
        *(_price(pl.col(name)).alias(name) for name in PRICES),
        pl.col("volume").cast(pl.Int64, strict=False),
        pl.format("{}, line {}: {}", pl.lit(path.name), number, row).alias("fault"),
    )
    is_whole = pl.all_horizontal(pl.col("ts", *PRICES, "volume").is_not_null())
    code = pl.when(pl.col("ts").is_null()).then(pl.lit("unplaced_row")).otherwise(pl.lit("not_a_number"))
    return bars.with_columns(
        pl.when(~is_whole).then("fault").alias("fault"), pl.when(~is_whole).then(code).alias("code")
    ).cast(pl.Schema(BAR_SCHEMA))


def _price(column: pl.Expr) -> pl.Expr:
    """Return ten-thousandths as a decimal."""
    number = column.cast(pl.Int64, strict=False)
    digits = (number % 10_000).cast(pl.String).str.zfill(4)
    return pl.concat_str((number // 10_000).cast(pl.String), pl.lit("."), digits).str.to_decimal(scale=6)
