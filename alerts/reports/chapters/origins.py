"""Where all figures come from: the transaction, the state of each table, and how far the lake was."""

from alerts.reports.document import Chapter, Column, Note, Row, Table
from alerts.reports.reading import Facts
from alerts.reports.wording import NONE, columns, count, moment


def lineage_chapter(facts: Facts) -> Chapter:
    """Return the lineage in full."""
    note = (
        f"Every figure was read in one transaction of {moment(facts.asked_at)}, which saw PostgreSQL as of snapshot "
        f"{facts.snapshot}: figures of different chapters fit each other. A version is a digest of the rows of these "
        "sessions; of coverage and gaps it is the number of their newest change in the lake."
    )
    names = ("Table", "Version", "Newest change", "Dagster run", "Built")
    tables = Table(
        "tables",
        "Tables",
        columns(*names),
        tuple(
            Row(
                source.relation,
                (
                    source.relation,
                    source.version or NONE,
                    source.changed_at or NONE,
                    source.run_id or "not by Dagster",
                    source.built_at or NONE,
                ),
            )
            for source in facts.sources.values()
        ),
        (),
    )
    lake = Table(
        "batches",
        "The lake",
        (
            Column("batch", "Query and newest batch (its commit in Delta)"),
            Column("published", "Published"),
            Column("messages", "Messages", is_number=True),
            Column("quarantined", "Quarantined", is_number=True),
        ),
        tuple(
            Row(
                row["batch"],
                (row["batch"], moment(row["published_at"]), count(row["messages"]), count(row["quarantined"])),
            )
            for row in facts.batches
        ),
        (),
        empty="No batch of the stream was published: what there is was put into PostgreSQL by other ways.",
    )
    return Chapter("lineage", "Lineage", (Note("snapshot", note), tables, lake))
