"""The page for producers names every topic and field, and its examples are records; reasons: see the tests of the decoder."""

import json
from datetime import datetime
from typing import get_args

import pytest

from market import records, topics
from market.sessions import EXCHANGE_ZONE
from market.settings import CHECKOUT

PAGE = (CHECKOUT / "docs" / "wire-format.md").read_text()


@pytest.mark.parametrize("record", get_args(records.Record))
def test_the_page_names_every_field(record: type[records.Record]) -> None:
    assert [name for name in record.__struct_fields__ if f"`{name}`" not in PAGE] == []


def test_the_page_names_every_topic() -> None:
    assert [topic.name for topic in topics.TOPICS if f"| `{topic.name}` | {topic.key} |" not in PAGE] == []


def test_the_examples_are_records() -> None:
    examples = PAGE.split("```json\n")[1].split("```")[0].splitlines()
    assert [type(records.decode(line.encode())) for line in examples] == [
        *(records.Trade, records.Cancel, records.Correction),
        *(records.Heartbeat, records.Halt, records.Resume, records.Quote, records.Bar),
        *(records.Split, records.Dividend, records.SymbolChange, records.Withdrawal),
    ]
    moments = [datetime.fromtimestamp(json.loads(line)["ts"] / 10**6, EXCHANGE_ZONE) for line in examples]
    assert {moment.date().isoformat() for moment in moments[:-4]} == {"2013-10-07"}
    # when it became known: at the start of a day in New York; but for the withdrawal before it held, or on that day
    effective = [json.loads(line)["effective_date"] for line in examples[-4:]]
    assert all(moment.hour == moment.minute == 0 for moment in moments[-4:])
    assert all(moment.date().isoformat() <= day for moment, day in zip(moments[-4:], effective, strict=True))
