"""The page for producers names every topic and field, and its examples are records; reasons: see the tests of the decoder."""

import json
from typing import get_args

import pytest

from market import records, topics
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
    ]
    assert all(json.loads(line)["ts"] // 10**9 == 1_381_152 for line in examples)
