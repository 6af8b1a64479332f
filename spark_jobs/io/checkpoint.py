"""Spark's checkpoint of a query: what each batch holds, and when it was planned."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pyarrow import fs

from market.errors import CheckpointError
from spark_jobs.io.delta import filesystem

Offsets = Mapping[int, int]
"""An offset per partition."""

CHECKPOINT_VERSION: Final = 1
"""Raised when a change of a query's plan makes older checkpoints unusable."""


def checkpoints_of(lake: str) -> str:
    """Return where the checkpoints of a lake are: one below it for each topic, with the topic's name."""
    return f"{lake}/_checkpoints/v{CHECKPOINT_VERSION}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What Spark logged of a batch before it began.

    Attributes
    ----------
    planned_at
        When.
    starts, ends
        Per partition the batch's first offset and the one after its last.
    """

    planned_at: datetime
    starts: Offsets
    ends: Offsets


def read_plan(checkpoint: str, topic: str, batch_id: int) -> Plan:
    """Return the plan of a batch.

    Parameters
    ----------
    checkpoint
        Where the query's checkpoint lives.
    topic
        The one topic that the query reads.
    batch_id
        A batch that has been planned.

    Raises
    ------
    CheckpointError
        If an entry is missing or cannot be read.
    """
    entry = _read(f"{checkpoint}/offsets/{batch_id}")
    before = f"{checkpoint}/offsets/{batch_id - 1}" if batch_id else f"{checkpoint}/sources/0/0"
    return Plan(planned_moment(entry), offsets_in(_read(before), topic), offsets_in(entry, topic))


def newest_plan(checkpoint: str) -> int | None:
    """Return the number of the newest batch that has been planned, or ``None`` before the first."""
    files, path = filesystem(f"{checkpoint}/offsets")
    entries = files.get_file_info(fs.FileSelector(path, allow_not_found=True))
    return max((int(entry.base_name) for entry in entries if entry.base_name.isdigit()), default=None)


def read_query_id(checkpoint: str) -> str:
    """Return the id of the query that the checkpoint belongs to.

    Raises
    ------
    CheckpointError
        If it is missing or cannot be read.
    """
    uri = f"{checkpoint}/metadata"
    entry = _read(uri)
    try:
        return str(json.loads(entry)["id"])
    except (KeyError, TypeError, ValueError) as error:
        msg = f"The checkpoint is damaged: {uri} holds {entry[:80]!r}. Put back a copy, or rebuild the lake."
        raise CheckpointError(msg) from error


def planned_moment(entry: str) -> datetime:
    """Return when a batch was planned, from its entry in the offset log: version, metadata as JSON, a line per source.

    Raises
    ------
    CheckpointError
        If the entry cannot be read.
    """
    try:
        milliseconds = json.loads(entry.splitlines()[1])["batchTimestampMs"]
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (IndexError, KeyError, OSError, OverflowError, TypeError, ValueError) as error:
        raise _damaged(entry) from error


def offsets_in(entry: str, topic: str) -> Offsets:
    """Return the offsets in the last line of an entry.

    Raises
    ------
    CheckpointError
        If the entry cannot be read.
    """
    try:
        *_, line = entry.splitlines()
        found: dict[str, Any] = json.loads(line)
        if found and "batchTimestampMs" not in found and topic not in found:
            raise _damaged(line)
        of_topic = {} if found == {} else found[topic]  # a topic that had no partition yet
        return {int(partition): int(offset) for partition, offset in of_topic.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(entry) from error


def _damaged(entry: str) -> CheckpointError:
    msg = f"The checkpoint is damaged: its offset log holds {entry[:80]!r}. Put back a copy, or rebuild the lake."
    return CheckpointError(msg)


def _read(uri: str) -> str:
    files, path = filesystem(uri)
    try:
        with files.open_input_stream(path) as stream:
            return str(stream.read().decode())
    except (OSError, UnicodeDecodeError) as error:
        msg = f"The checkpoint is damaged: {uri} cannot be read. Put back a copy, or rebuild the lake."
        raise CheckpointError(msg) from error
