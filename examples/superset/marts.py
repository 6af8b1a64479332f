"""The marts in Apache Superset: a database of the role analyst, a dataset for each mart, and the answer to one question.

Reads what ``./run connect --json --password`` prints, and works on the Superset that ``SUPERSET_CONFIG_PATH`` configures. Run it
with the Python of that Superset; ``--new`` makes Superset's own tables first, for a trial. A second run changes nothing::

    ./run connect --json --password | python examples/superset/marts.py --new

It prints one JSON object: the datasets with their columns' meanings, which Superset takes from the database's comments, and what
was traded of each symbol in regular hours, asked by Superset's own query builder.
"""

import json
import sys
from typing import Any

from superset.app import create_app


def register(connection: dict[str, Any]) -> dict[str, Any]:
    """Make the database and its datasets known to Superset, and return what it says of them."""
    from superset.connectors.sqla.models import SqlaTable
    from superset.extensions import db
    from superset.models.core import Database

    name, schema = "Tapehouse", connection["schema"]
    database = db.session.query(Database).filter_by(database_name=name).one_or_none()
    if database is None:
        database = Database(database_name=name)
        db.session.add(database)
    database.set_sqlalchemy_uri(connection["lines"]["Superset"])  # keeps the password apart, encrypted
    database.expose_in_sqllab = True
    database.allow_dml = False
    db.session.commit()
    found = [
        *database.get_all_table_names_in_schema(catalog=None, schema=schema),
        *database.get_all_view_names_in_schema(catalog=None, schema=schema),
    ]
    datasets = {}
    for relation in sorted(row[0] for row in found):
        dataset = db.session.query(SqlaTable).filter_by(database_id=database.id, table_name=relation).one_or_none()
        if dataset is None:
            dataset = SqlaTable(table_name=relation, schema=schema, database=database)
            db.session.add(dataset)
            db.session.commit()
        dataset.fetch_metadata()
        db.session.commit()
        datasets[relation] = dataset
    columns = {
        name: {column.column_name: column.description for column in dataset.columns}
        for name, dataset in datasets.items()
    }
    return {"datasets": columns, "traded": _ask(datasets["intraday_ohlcv"])}


def _ask(dataset: Any) -> dict[str, int]:  # noqa: ANN401 - Superset is not known here
    """Return the shares of each symbol, asked as a chart asks: dimensions, a metric and filters."""
    from superset.common.query_context_factory import QueryContextFactory

    question = {
        "columns": ["symbol"],
        "metrics": [{"expressionType": "SQL", "sqlExpression": "sum(volume)", "label": "volume"}],
        "filters": [{"col": "interval", "op": "==", "val": "1h"}, {"col": "segment", "op": "==", "val": "regular"}],
        "orderby": [],
        "row_limit": 1000,
    }
    context = QueryContextFactory().create(datasource={"id": dataset.id, "type": "table"}, queries=[question])
    answer = context.get_query_result(context.queries[0])
    if answer.error_message:
        raise SystemExit(answer.error_message)
    return {row["symbol"]: int(row["volume"]) for row in answer.df.to_dict("records")}


def main() -> None:
    """Register the marts in the configured Superset and print what it makes of them."""
    connection = json.load(sys.stdin)
    app = create_app()
    with app.app_context(), app.test_request_context():
        if "--new" in sys.argv[1:]:
            from flask_appbuilder import Model
            from superset.extensions import db

            Model.metadata.create_all(db.engine)
        said = register(connection)
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
