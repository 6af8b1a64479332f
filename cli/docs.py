"""``./run docs``: the models with their columns, tests and lineage, as one page."""

import threading
import webbrowser
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated

import typer


def docs(
    *,
    serve: Annotated[bool, typer.Option("--serve", help="Serve the page on 127.0.0.1 until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="With --serve: the port; 0 is any that is free.")] = 0,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Write the documentation of the marts with their lineage, one page that opens from a file, and print where it is.

    What the columns are is read from the database: start the platform with ./run up first, or set DATABASE_URL.
    """
    from infra.local.home import connected_settings
    from market.settings import load_settings
    from orchestration.dbt import Dbt

    page = Dbt(connected_settings(load_settings())).write_page()
    typer.echo(str(page))
    if not serve:
        if open_page:
            webbrowser.open(page.as_uri())
        return
    with page_server(page, port) as server:
        address = f"http://127.0.0.1:{server.server_address[1]}/{page.name}"
        typer.echo(f"{address} until Ctrl-C")
        if open_page:
            threading.Timer(0.2, webbrowser.open, [address]).start()
        server.serve_forever()


def page_server(page: Path, port: int) -> ThreadingHTTPServer:
    """Return a server for the page's folder, which has nothing else in it, on this machine only."""
    handler = partial(_Quiet, directory=str(page.parent))
    return ThreadingHTTPServer(("127.0.0.1", port), handler)


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""
