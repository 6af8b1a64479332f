import os
import shutil
from pathlib import Path

import pytest

from infra.local import users
from infra.local.users import unprivileged_user
from market.errors import ServiceError


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/setpriv")
    monkeypatch.setattr(users, "_identity", lambda _: (65534, 65534))


def test_a_user_who_is_not_root_stays_who_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert unprivileged_user(tmp_path / "data", ()).prefix == ()


@pytest.mark.usefixtures("as_root")
def test_root_becomes_another_user_without_any_power_where_all_folders_are_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(users, "_first_closed", lambda _: None)
    prefix = unprivileged_user(tmp_path / "data", ()).prefix
    assert prefix == ("/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")


@pytest.mark.usefixtures("as_root")
def test_a_closed_folder_above_is_passed_with_one_capability(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "home").mkdir(parents=True)
    closed.chmod(0o700)
    monkeypatch.setattr(users, "_capability", lambda: "dac_read_search")
    prefix = unprivileged_user(closed / "home" / "data", ()).prefix
    assert prefix[4:] == (
        "--securebits=+no_setuid_fixup",
        "--inh-caps=+dac_read_search",
        "--ambient-caps=+dac_read_search",
        "--",
    )


@pytest.mark.usefixtures("as_root")
def test_without_that_capability_the_closed_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr(users, "_capability", lambda: None)
    with pytest.raises(ServiceError, match=rf"chmod o\+x {closed}"):
        unprivileged_user(closed / "data", ())


@pytest.mark.usefixtures("as_root")
def test_without_setpriv_root_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ServiceError, match="util-linux"):
        unprivileged_user(tmp_path / "data", ())
