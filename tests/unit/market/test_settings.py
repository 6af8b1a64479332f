"""Settings: what they read, what they refuse, and that secrets stay secret."""

from pathlib import Path

import pytest

from market import settings as module
from market.errors import SettingsError, UsageError
from market.settings import CHECKOUT, Settings, load_settings

PASSWORD = "correct-horse"
URL = f"postgresql://tape:{PASSWORD}@127.0.0.1:5432/market"


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty environment and a checkout of its own, whose ``.env`` a test may write."""
    for field in Settings.model_fields.values():
        monkeypatch.delenv(str(field.validation_alias), raising=False)
    monkeypatch.setattr(module, "CHECKOUT", tmp_path)
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    return tmp_path


def test_without_anything_set_every_engine_is_embedded() -> None:
    settings = load_settings()
    assert settings.kafka_bootstrap_servers is None
    assert settings.database_url is None
    assert settings.spark_master is None
    assert settings.lake == str(settings.home / "lake")


def test_home_is_in_the_checkout_unless_set() -> None:
    assert load_settings().home == CHECKOUT / ".tapehouse"


def test_a_relative_home_is_relative_to_the_checkout(monkeypatch: pytest.MonkeyPatch, checkout: Path) -> None:
    monkeypatch.setenv("TAPEHOUSE_HOME", "other/../homes/a")
    assert load_settings().home == checkout / "homes" / "a"


def test_an_empty_address_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKE_URI", "")
    monkeypatch.setenv("DATABASE_URL", "")
    assert load_settings().lake_uri is None
    assert load_settings().database_url is None


def test_an_empty_key_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APCA_API_KEY_ID", "")
    monkeypatch.setenv("APCA_API_SECRET_KEY", "")
    assert load_settings().alpaca_key_id is None
    assert load_settings().alpaca_secret_key is None


def test_a_lake_uri_loses_its_trailing_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKE_URI", "s3a://bucket/lake/")
    assert load_settings().lake == "s3a://bucket/lake"


def test_an_unknown_variable_of_the_project_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPEHOUSE_SYMBOL", "SPY")
    with pytest.raises(SettingsError, match=r"TAPEHOUSE_SYMBOL\b.*TAPEHOUSE_SYMBOLS") as caught:
        load_settings()
    assert caught.value.exit_code == 2


def test_variables_of_others_are_nobodys_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPE_RECORDER", "1")
    monkeypatch.setenv("DBT_TAPEHOUSE_HOST", "127.0.0.1")
    assert load_settings().seed == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TAPEHOUSE_SEED", "one"),
        ("TAPEHOUSE_TRADES_PER_DAY", "0"),
        ("TAPEHOUSE_MAX_MESSAGES_PER_BATCH", "-1"),
        ("TAPEHOUSE_BATCH_INTERVAL_SECONDS", "-0.5"),
        ("TAPEHOUSE_SPARK_MEMORY", "lots"),
        ("TAPEHOUSE_LOG_LEVEL", "loud"),
        ("TAPEHOUSE_ALPACA_URL", "data.alpaca.markets"),
        ("TAPEHOUSE_ALPACA_DATA_FEED", "nasdaq"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert name in str(caught.value)
    assert value in str(caught.value)


def test_the_env_file_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, checkout: Path) -> None:
    (checkout / ".env").write_text("# a remark\n\nTAPEHOUSE_SEED=7\nTAPEHOUSE_SYMBOLS=ibm,spy\n")
    monkeypatch.setenv("TAPEHOUSE_SEED", "8")
    settings = load_settings()
    assert settings.seed == 8
    assert settings.symbol_list == ("IBM", "SPY")


def test_an_unknown_name_in_the_env_file_is_refused(checkout: Path) -> None:
    (checkout / ".env").write_text("TAPEHOUSE_SEEED=7\n")
    with pytest.raises(SettingsError, match="TAPEHOUSE_SEEED"):
        load_settings()


def test_a_bad_list_of_symbols_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPEHOUSE_SYMBOLS", "spy,d'oh")
    with pytest.raises(UsageError, match="D'OH"):
        _ = load_settings().symbol_list


@pytest.mark.parametrize("name", ["APCA_API_KEY_ID", "APCA_API_SECRET_KEY"])
def test_no_text_of_the_settings_shows_a_key_and_a_child_process_gets_it(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, PASSWORD)
    settings = load_settings()
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert PASSWORD not in text
    assert settings.environment()[name] == PASSWORD
    assert name not in module.inherited_environment()


def test_no_text_of_the_settings_shows_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", URL)
    settings = load_settings()
    for text in (repr(settings), str(settings), settings.model_dump_json(), f"{settings.database_url}"):
        assert PASSWORD not in text
    assert settings.require_database() == URL


def test_a_refused_setting_beside_a_password_does_not_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", URL)
    monkeypatch.setenv("TAPEHOUSE_SEED", "one")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert PASSWORD not in str(caught.value)


def test_addresses_fill_only_what_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "broker:9092")
    settings = load_settings().with_addresses({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "DATABASE_URL": URL})
    assert settings.require_kafka() == "broker:9092"
    assert settings.require_database() == URL


def test_an_engine_that_is_nowhere_is_said_with_the_remedy() -> None:
    with pytest.raises(SettingsError, match=r"Kafka is not running.*\./run up.*KAFKA_BOOTSTRAP_SERVERS"):
        load_settings().require_kafka()
    with pytest.raises(SettingsError, match=r"PostgreSQL is not running.*DATABASE_URL"):
        load_settings().require_database()


def test_a_child_process_reads_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", URL)
    monkeypatch.setenv("TAPEHOUSE_SYMBOLS", "spy")
    monkeypatch.setenv("TAPEHOUSE_BATCH_INTERVAL_SECONDS", "0.25")
    monkeypatch.setenv("TAPEHOUSE_ALPACA_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("TAPEHOUSE_ALPACA_DATA_FEED", "sip")
    settings = load_settings()
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings
