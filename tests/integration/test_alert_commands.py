"""The commands of delivery, as users type them, on a real PostgreSQL."""

import json
from collections.abc import Iterator

import psycopg
import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from market.settings import Settings
from tests.integration.outbox_rows import Outbox
from tests.receivers import answers, receiving
from warehouse.analyst import ROLE

pytestmark = pytest.mark.integration

SECRETS = ("pa55word", "t0ken", "whsec_1")


@pytest.fixture
def outbox(settings: Settings) -> Iterator[Outbox]:
    made = Outbox(settings)
    yield made
    made.connection.close()


@pytest.fixture
def run(settings: Settings, outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> "Run":
    del outbox  # emptied for the test
    monkeypatch.setenv("DATABASE_URL", settings.require_database())
    monkeypatch.setenv("TAPEHOUSE_HOME", str(settings.home))
    return Run()


class Run:
    """Runs ``./run alert …``; nothing that it says may hold a secret."""

    def __call__(self, *arguments: str, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(app, ["alert", *arguments], input=stdin)
        said = result.output + str(result.exception or "")
        assert [secret for secret in SECRETS if secret in said] == []
        return result


def test_a_channel_is_added_listed_tried_and_removed_without_showing_its_secrets(run: Run) -> None:
    with receiving() as receiver:
        url = receiver.url.replace("127.0.0.1", "me:pa55word@127.0.0.1") + "/t0ken"
        assert run("channel", "add", "desk", url, "--secret", "whsec_1", "--allow-private").exit_code == 0
        listed = run("channel", "list").output
        assert "desk" in listed
        assert "***@127.0.0.1" in listed
        assert "kafka" in listed
        assert run("channel", "test", "desk").output == "desk took the message.\n"
        assert json.loads(receiver.requests[0].body)["kind"] == "test"
        assert "x-tapehouse-signature" in receiver.requests[0].headers
        receiver.behavior = answers(500)
        failed = run("channel", "test", "desk")
        assert failed.exit_code != 0
        assert "answered 500" in str(failed.exception)
    assert "Removed desk" in run("channel", "remove", "desk").output
    assert "There is no channel desk" in str(run("channel", "remove", "desk").exception)


def test_an_address_may_be_asked_for_so_that_the_shell_does_not_keep_it(outbox: Outbox, run: Run) -> None:
    added = run("channel", "add", "desk", "-", "--secret", "-", stdin="https://example.com/t0ken\nwhsec_1\n")
    assert added.exit_code == 0
    stored = outbox.connection.execute("select url, signing_secret from app.alert_channels").fetchone()
    assert stored == ("https://example.com/t0ken", "whsec_1")


def test_a_private_address_is_refused_when_it_is_tried(run: Run) -> None:
    with receiving() as receiver:
        run("channel", "add", "desk", receiver.url)
        refused = run("channel", "test", "desk")
        assert "is not a public address" in str(refused.exception)
        assert receiver.requests == []


def test_deliveries_are_listed_and_dead_ones_are_sent_again(outbox: Outbox, run: Run) -> None:
    outbox.alert("desk")
    outbox.alert("desk")
    first = outbox.ids("desk")[0]
    outbox.connection.execute(
        "update app.alert_outbox set status = 'dead', attempts = 36, last_error = 'gone' where delivery_id = %s",
        [first],
    )
    (line,) = run("deliveries", "--dead", "--json").output.splitlines()
    assert json.loads(line)["delivery_id"] == first
    assert json.loads(line)["last_error"] == "gone"
    assert "gone" in run("deliveries").output
    said = str(run("resend", "--dead", "--channel", "desk").exception)
    assert said.startswith("There is no channel desk: there is log, kafka. Add it first")
    assert run("resend", "--dead").output.startswith("0 deliveries are sent again.")
    assert "is for the channel desk, which there is not: add it first" in str(run("resend", first).exception)
    outbox.channel("desk", "https://example.com/t0ken")
    assert run("resend", "--dead").output.startswith("1 deliveries are sent again.")
    assert outbox.statuses() == ["pending", "pending"]
    assert "only dead, held, void ones" in str(run("resend", first).exception)
    assert "is not the id of a delivery" in str(run("resend", "nonsense").exception)
    assert "Give the ids" in str(run("resend").exception)


def test_a_channel_whose_address_cannot_be_read_says_so_when_it_is_tried(run: Run, outbox: Outbox) -> None:
    """As one that was added before addresses were looked at."""
    outbox.channel("desk", "https://exa..mple.com/t0ken")
    assert "The address of desk cannot be read" in str(run("channel", "test", "desk").exception)
    assert "exa..mple.com" in run("channel", "list").output


def test_the_role_of_bi_tools_cannot_read_the_channels(outbox: Outbox) -> None:
    outbox.channel("desk", "https://example.com/t0ken")
    outbox.connection.execute(f"create role {ROLE}_of_a_test")
    try:
        outbox.connection.execute(f"set role {ROLE}_of_a_test")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            outbox.connection.execute("select url from app.alert_channels")
    finally:
        outbox.connection.execute("reset role")
        outbox.connection.execute(f"drop role {ROLE}_of_a_test")
