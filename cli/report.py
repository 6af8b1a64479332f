"""``./run report``: make the report of a session, a week or a month."""

from typing import Annotated

import typer


def report(
    *,
    session: Annotated[
        str | None, typer.Option(help="The session, as 2013-10-07; the newest with data if not given.")
    ] = None,
    week: Annotated[bool, typer.Option("--week", help="Of the week in which the session lies.")] = False,
    month: Annotated[bool, typer.Option("--month", help="Of the month in which it lies.")] = False,
    send: Annotated[bool, typer.Option("--send", help="Send it to the channels that want reports.")] = False,
    only_path: Annotated[
        bool, typer.Option("--open-path", help="Print the path of the page, and nothing else.")
    ] = False,
) -> None:
    """Make the report of a session, as a page and as PDF, and print where they are.

    If figures changed since it was made, it replaces the one before, with the next revision number, and says what changed.
    """
    from datetime import UTC, date, datetime

    from alerts.reports.make import make_report, send_report
    from alerts.reports.period import MONTH, SESSION, WEEK
    from infra.local.home import connected_settings
    from market.errors import UsageError
    from market.settings import load_settings

    if week and month:
        msg = "Ask for --week or for --month, not for both."
        raise UsageError(msg)
    try:
        day = date.fromisoformat(session) if session else None
    except ValueError as error:
        msg = f"--session is {session!r}: write a date as 2013-10-07."
        raise UsageError(msg) from error
    kind = WEEK if week else MONTH if month else SESSION
    settings = connected_settings(load_settings())
    made = make_report(settings, datetime.now(UTC), kind, day)
    is_news = send and send_report(settings, made, datetime.now(UTC))
    if only_path:
        typer.echo(made.page)
        return
    document = made.report
    state = f"revision {document.revision}" if made.is_new else f"nothing changed since revision {document.revision}"
    typer.echo(f"{document.title}: {state}.")
    for line in document.headline:
        typer.echo(f"  {line}")
    if made.is_new and document.revision > 1:
        typer.echo(f"  {len(document.changes):,} figures are not as they were; the page says which.")
    if send:
        sent = "sent to the channels that want reports" if is_news else "this revision was sent before"
        typer.echo(f"  {sent}; ./run alert deliveries shows what becomes of it")
    typer.echo(f"Page:  {made.page}")
    typer.echo(f"PDF:   {made.paper}")
    typer.echo(f"All:   {made.index}")
