"""Options that a source has no use for are refused, not passed over."""

from pathlib import Path

import pytest

from ingest.actions.sources import get_action_source
from ingest.history.sources import SourceOptions, get_source
from market.errors import UsageError
from market.settings import load_settings


@pytest.mark.parametrize("feed", ["alpaca", "alphavantage", "sample", "yahoo"])
def test_a_path_for_a_source_of_history_without_files_is_refused(feed: str, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=rf"The source {feed} reads no files: leave --path out, or give --feed csv or lean"
    ):
        get_source(feed, load_settings(), SourceOptions(path=tmp_path))


@pytest.mark.parametrize("feed", ["lean", "yahoo"])
def test_columns_for_a_source_without_any_are_refused(feed: str, tmp_path: Path) -> None:
    options = SourceOptions(path=tmp_path if feed == "lean" else None, columns={"close": "Last"})
    with pytest.raises(UsageError, match=rf"The source {feed} has no columns to declare"):
        get_source(feed, load_settings(), options)


@pytest.mark.parametrize("feed", ["alpaca", "yahoo"])
def test_a_path_for_a_source_of_actions_without_files_is_refused(feed: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"The source {feed} reads no files"):
        get_action_source(feed, load_settings(), tmp_path)
