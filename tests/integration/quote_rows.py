"""Quotes of the last session, published as the stream publishes them: what tests of rules about quotes share."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import count
from time import monotonic
from typing import Any, Final

import psycopg
import pyarrow as pa

from market.tables import QUOTES
from tests.integration.alert_rows import LAST
from warehouse.batch import BatchOutput, publish_batch
from warehouse.staging import PLACED_QUOTE_COLUMNS, arrow_schema

Quoted = tuple[float, str | None, str | None]
"""Minutes after the open, bid and ask."""

SCHEMA: Final = arrow_schema([column for column in QUOTES.columns if column.name in PLACED_QUOTE_COLUMNS])
_NUMBERS: Final = count(1)


def publish_quotes(
    connection: psycopg.Connection[Any], quotes: Sequence[Quoted], symbol: str = "IBM", source: str = "lean"
) -> None:
    """Publish a batch of quotes; of two of the same moment the later one of the sequence is newer."""
    rows = [
        {
            "source": source,
            "symbol": symbol,
            "quoted_at": LAST.open_at + timedelta(minutes=minute),
            "session_date": LAST.session_date,
            "segment": "regular",
            "sequence": place,
            "bid": Decimal(bid) if bid is not None else None,
            "bid_size": 100 if bid is not None else None,
            "ask": Decimal(ask) if ask is not None else None,
            "ask_size": 100 if ask is not None else None,
        }
        for place, (minute, bid, ask) in enumerate(quotes)
    ]
    publish_rows(connection, rows)


def publish_rows(connection: psycopg.Connection[Any], rows: Sequence[dict[str, Any]]) -> None:
    """Publish a batch of quotes with these columns, and note in each when the batch was taken in."""
    number = next(_NUMBERS)
    ingested_at = LAST.post_close_at + timedelta(seconds=number)
    for row in rows:
        row["ingested_at"] = ingested_at
    published = publish_batch(
        connection,
        BatchOutput(
            query_id="test of quotes",
            batch_id=number,
            ingested_at=ingested_at,
            started_monotonic=monotonic(),
            quotes=len(rows),
            quote_rows=pa.Table.from_pylist(list(rows), SCHEMA),
        ),
    )
    assert published
