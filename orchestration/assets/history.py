"""History: real daily bars that go through the same door as everything else."""

from typing import Any, Final

import dagster as dg

from market.topics import BARS
from orchestration.assets.keys import OWNER, SAMPLE_DAILY_BARS, Group
from orchestration.resources import Broker, Lake, SampleHistory, session_dates

SAMPLE: Final = "sample"
WAIT_SECONDS: Final = 1800.0
"""How long the lake may take to have the bars: they share its batches with everything that is being replayed."""


@dg.asset(
    key=SAMPLE_DAILY_BARS,
    group_name=Group.HISTORY.value,
    kinds={"python", "kafka"},
    owners=[OWNER],
    retry_policy=dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS),
)
def sample_daily_bars(
    context: dg.AssetExecutionContext,
    broker: dg.ResourceParam[Broker],
    lake: dg.ResourceParam[Lake],
    sample_history: dg.ResourceParam[SampleHistory],
) -> dg.MaterializeResult[Any]:
    """Real daily bars from a package of sample data, published to Kafka and awaited in the lake.

    One message per symbol and session. What the lake has is not published again, whoever brought it and however often this runs.
    """
    records = sample_history.read()
    try:
        lake.wait_for(
            broker.end_offsets(BARS), timeout_seconds=WAIT_SECONDS
        )  # a run before may have ended while it waited
        known = lake.vendor_bars(SAMPLE)
        summary = broker.publish([record for record in records if record not in known])
        context.log.info(
            f"Kafka has acknowledged {summary.acknowledged:,} of {summary.sent:,} bars; waiting for the lake."
        )
        lake.wait_for(broker.end_offsets(BARS), timeout_seconds=WAIT_SECONDS)
    except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt) as interrupt:
        # Dagster would apply the retry policy: the process would go on, and publish once more, instead of ending.
        msg = "Stopped before the lake had every bar; run it again."
        raise dg.Failure(msg, allow_retries=False) from interrupt
    first, last = session_dates(records)
    symbols = sorted({record.symbol for record in records})
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(records),
            "sent": summary.sent,
            "acknowledged": summary.acknowledged,
            "symbols": ", ".join(symbols),
            "first_session": first.isoformat(),
            "last_session": last.isoformat(),
            "publish_seconds": round(summary.seconds, 3),
        }
    )
