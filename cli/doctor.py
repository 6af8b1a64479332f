"""``./run doctor``: what would keep the platform from running, and how to mend it."""

from typing import Annotated

import typer


def doctor(*, json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Look for what would keep the platform from running; exits 1 if something would."""
    import json
    from dataclasses import asdict

    from rich.console import Console

    from cli.checkup import Verdict, examine

    findings = examine()
    if json_output:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        console = Console(soft_wrap=True, highlight=False)
        colours = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "red"}
        for finding in findings:
            console.print(f"[{colours[finding.verdict]}]{finding.verdict:4}[/]  {finding.subject}: {finding.found}")
            if finding.remedy:
                console.print(f"      {finding.remedy}")
    if any(finding.verdict is Verdict.FAIL for finding in findings):
        raise typer.Exit(1)
