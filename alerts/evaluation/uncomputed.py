"""Which rules wait for what nobody computes: a period that was taken out of dbt_project.yml after they were made."""

from typing import Final

from alerts.evaluation.bars import column_of
from alerts.rules.fields import find_field
from market.settings import Settings
from warehouse.connection import connect

_NAMED: Final = """
select distinct versions.rule_id, versions.interval, fields.field
from app.alert_rule_versions as versions
inner join app.alert_clauses as clauses using (rule_id, version)
inner join app.alert_fields as fields
    on fields.field_number in (clauses.left_field, clauses.right_field, clauses.upper_field)
where versions.is_newest
order by versions.rule_id, fields.field
"""


def uncomputed(settings: Settings) -> dict[int, str]:
    """Return by the number of a rule why it cannot fire: the first of what it names that is not computed, and what there is.

    Raises
    ------
    ServiceError
        If PostgreSQL cannot be reached.
    """
    with connect(settings, read_only=True, application_name="tapehouse alerts") as connection:
        named = connection.execute(_NAMED).fetchall()
    found: dict[int, str] = {}
    for rule_id, interval, field in named:
        answer = find_field(column_of(field), interval)
        if isinstance(answer, str):
            found.setdefault(rule_id, answer)
    return found
