"""Settings: the only place that reads the environment and ``.env``.

Every address may be set; what is unset means the embedded engine, whose address is filled in once it runs
(:meth:`Settings.with_addresses`).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from market.errors import SettingsError
from market.instruments import parse_symbols

CHECKOUT: Final = Path(__file__).resolve().parent.parent
"""The folder of the checkout; relative settings are relative to it."""

_PREFIX: Final = "TAPEHOUSE_"


class Settings(BaseSettings):
    """Everything that can be set, typed; the environment wins over ``.env``."""

    model_config = SettingsConfigDict(env_file=CHECKOUT / ".env", extra="ignore", frozen=True)

    home: Path = Field(
        CHECKOUT / ".tapehouse", validation_alias="TAPEHOUSE_HOME", description="Data, logs and addresses."
    )
    kafka_bootstrap_servers: str | None = Field(None, validation_alias="KAFKA_BOOTSTRAP_SERVERS")
    database_url: SecretStr | None = Field(None, validation_alias="DATABASE_URL")
    lake_uri: str | None = Field(None, validation_alias="LAKE_URI")
    spark_master: str | None = Field(None, validation_alias="SPARK_MASTER")
    java_home: Path | None = Field(None, validation_alias="JAVA_HOME")
    symbols: str = Field("AAPL,AMZN,GOOG,IBM,JPM,MSFT,NVDA,SPY,TSLA,XOM", validation_alias="TAPEHOUSE_SYMBOLS")
    seed: int = Field(1, validation_alias="TAPEHOUSE_SEED")
    trades_per_day: int = Field(20_000, ge=1, validation_alias="TAPEHOUSE_TRADES_PER_DAY")
    max_messages_per_batch: int = Field(1_000_000, ge=1, validation_alias="TAPEHOUSE_MAX_MESSAGES_PER_BATCH")
    batch_interval_seconds: float = Field(1.0, ge=0, validation_alias="TAPEHOUSE_BATCH_INTERVAL_SECONDS")
    spark_memory: str = Field("1g", pattern=r"^\d+[mg]$", validation_alias="TAPEHOUSE_SPARK_MEMORY")
    yahoo_url: str = Field(
        "https://query2.finance.yahoo.com", pattern="^https?://", validation_alias="TAPEHOUSE_YAHOO_URL"
    )
    alphavantage_api_key: SecretStr | None = Field(None, validation_alias="ALPHAVANTAGE_API_KEY")
    alphavantage_url: str = Field(
        "https://www.alphavantage.co", pattern="^https?://", validation_alias="TAPEHOUSE_ALPHAVANTAGE_URL"
    )
    alpaca_key_id: SecretStr | None = Field(None, validation_alias="APCA_API_KEY_ID")
    alpaca_secret_key: SecretStr | None = Field(None, validation_alias="APCA_API_SECRET_KEY")
    alpaca_url: str = Field(
        "https://data.alpaca.markets", pattern=r"^https?://[^/\s]\S*$", validation_alias="TAPEHOUSE_ALPACA_URL"
    )
    alpaca_data_feed: str = Field(
        "iex", pattern="^(iex|sip|delayed_sip|otc)$", validation_alias="TAPEHOUSE_ALPACA_DATA_FEED"
    )
    intraday_days: int = Field(549, ge=0, validation_alias="TAPEHOUSE_INTRADAY_DAYS")
    alpaca_stream_url: str = Field(
        "wss://stream.data.alpaca.markets",
        pattern=r"^wss?://[^/\s]\S*$",
        validation_alias="TAPEHOUSE_ALPACA_STREAM_URL",
    )
    yahoo_stream_url: str = Field(
        "wss://streamer.finance.yahoo.com/?version=2",
        pattern=r"^wss?://[^/\s]\S*$",
        validation_alias="TAPEHOUSE_YAHOO_STREAM_URL",
    )
    live_feed: str = Field(
        "simulated", pattern="^(simulated|alpaca|yahoo|auto)$", validation_alias="TAPEHOUSE_LIVE_FEED"
    )
    closed_market: str = Field("simulated", pattern="^(simulated|wait)$", validation_alias="TAPEHOUSE_CLOSED_MARKET")
    daily_history_feed: str = Field(
        "yahoo", pattern="^(alpaca|alphavantage|yahoo)?$", validation_alias="TAPEHOUSE_DAILY_HISTORY_FEED"
    )
    intraday_history_feed: str = Field(
        "yahoo", pattern="^(alpaca|alphavantage|yahoo)?$", validation_alias="TAPEHOUSE_INTRADAY_HISTORY_FEED"
    )
    actions_feed: str = Field("yahoo", pattern="^(alpaca|yahoo)?$", validation_alias="TAPEHOUSE_ACTIONS_FEED")
    analyst_timeout_seconds: int = Field(60, ge=1, validation_alias="TAPEHOUSE_ANALYST_TIMEOUT_SECONDS")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", validation_alias="TAPEHOUSE_LOG_LEVEL")

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return (CHECKOUT / value.expanduser()).resolve()

    @field_validator(
        "kafka_bootstrap_servers",
        "database_url",
        "lake_uri",
        "spark_master",
        "java_home",
        "alpaca_key_id",
        "alpaca_secret_key",
        "alphavantage_api_key",
        mode="before",
    )
    @classmethod
    def _empty_means_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("daily_history_feed", "intraday_history_feed", "actions_feed", mode="before")
    @classmethod
    def _none_means_nobody(cls, value: object) -> object:
        return "" if value == "none" else value

    @property
    def symbol_list(self) -> tuple[str, ...]:
        """The symbols of the simulated market."""
        return parse_symbols(self.symbols)

    @property
    def lake(self) -> str:
        """The root of the lake: a folder or an object-storage URI, without a trailing slash."""
        return (self.lake_uri or str(self.home / "lake")).rstrip("/")

    def require_kafka(self) -> str:
        """Return the broker's address.

        Raises
        ------
        SettingsError
            If no broker is set and the embedded one is not running.
        """
        return self._require(self.kafka_bootstrap_servers, "Kafka", "KAFKA_BOOTSTRAP_SERVERS")

    def require_database(self) -> str:
        """Return the database's URL with its password: never log it.

        Raises
        ------
        SettingsError
            If no database is set and the embedded one is not running.
        """
        return self._require(_revealed(self.database_url), "PostgreSQL", "DATABASE_URL")

    def with_addresses(self, addresses: Mapping[str, str]) -> Self:
        """Return a copy in which unset addresses are taken from ``addresses`` (named like the environment variables)."""
        update: dict[str, object] = {}
        if self.kafka_bootstrap_servers is None and "KAFKA_BOOTSTRAP_SERVERS" in addresses:
            update["kafka_bootstrap_servers"] = addresses["KAFKA_BOOTSTRAP_SERVERS"]
        if self.database_url is None and "DATABASE_URL" in addresses:
            update["database_url"] = SecretStr(addresses["DATABASE_URL"])
        return self.model_copy(update=update)

    def environment(self) -> dict[str, str]:
        """Return the settings as environment variables for a child process, secrets included."""
        values = {
            "TAPEHOUSE_HOME": str(self.home),
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka_bootstrap_servers,
            "DATABASE_URL": _revealed(self.database_url),
            "LAKE_URI": self.lake_uri,
            "SPARK_MASTER": self.spark_master,
            "JAVA_HOME": str(self.java_home) if self.java_home else None,
            "TAPEHOUSE_SYMBOLS": self.symbols,
            "TAPEHOUSE_SEED": str(self.seed),
            "TAPEHOUSE_TRADES_PER_DAY": str(self.trades_per_day),
            "TAPEHOUSE_MAX_MESSAGES_PER_BATCH": str(self.max_messages_per_batch),
            "TAPEHOUSE_BATCH_INTERVAL_SECONDS": str(self.batch_interval_seconds),
            "TAPEHOUSE_SPARK_MEMORY": self.spark_memory,
            "TAPEHOUSE_YAHOO_URL": self.yahoo_url,
            "ALPHAVANTAGE_API_KEY": _revealed(self.alphavantage_api_key),
            "TAPEHOUSE_ALPHAVANTAGE_URL": self.alphavantage_url,
            "TAPEHOUSE_LOG_LEVEL": self.log_level,
            "APCA_API_KEY_ID": _revealed(self.alpaca_key_id),
            "APCA_API_SECRET_KEY": _revealed(self.alpaca_secret_key),
            "TAPEHOUSE_ALPACA_URL": self.alpaca_url,
            "TAPEHOUSE_ALPACA_DATA_FEED": self.alpaca_data_feed,
            "TAPEHOUSE_ALPACA_STREAM_URL": self.alpaca_stream_url,
            "TAPEHOUSE_YAHOO_STREAM_URL": self.yahoo_stream_url,
            "TAPEHOUSE_LIVE_FEED": self.live_feed,
            "TAPEHOUSE_CLOSED_MARKET": self.closed_market,
            "TAPEHOUSE_DAILY_HISTORY_FEED": self.daily_history_feed,
            "TAPEHOUSE_INTRADAY_HISTORY_FEED": self.intraday_history_feed,
            "TAPEHOUSE_ACTIONS_FEED": self.actions_feed,
            "TAPEHOUSE_ANALYST_TIMEOUT_SECONDS": str(self.analyst_timeout_seconds),
        }
        return {name: value for name, value in values.items() if value is not None}

    def child_environment(self) -> dict[str, str]:
        """Return the whole environment of a child process of the project: the present one, the settings, the import path."""
        return inherited_environment() | {"PYTHONPATH": str(CHECKOUT), "PYTHONSAFEPATH": "1"} | self.environment()

    @staticmethod
    def _require(value: str | None, engine: str, name: str) -> str:
        if value is None:
            msg = (
                f"{engine} is not running here and {name} is not set. Start the platform with ./run up, or set {name}."
            )
            raise SettingsError(msg)
        return value


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


def inherited_environment() -> dict[str, str]:
    """Return this process's environment without any setting: what a foreign program, such as an engine, starts with."""
    settings = {str(field.validation_alias) for field in Settings.model_fields.values()}
    return {name: value for name, value in os.environ.items() if name not in settings}


def load_settings() -> Settings:
    """Read the settings from the environment and ``.env``.

    Raises
    ------
    SettingsError
        If a value cannot be used, or a variable that starts with ``TAPEHOUSE_`` is not a setting.
    """
    known = {str(field.validation_alias) for field in Settings.model_fields.values()}
    given = {name for name in os.environ if name.startswith(_PREFIX)} | _names_in_env_file()
    unknown = sorted(given - known)
    if unknown:
        msg = f"Unknown setting {unknown[0]}. The settings are: {', '.join(sorted(known))}. See .env.example."
        raise SettingsError(msg)
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        msg = f"The setting {first['loc'][0]} cannot be used: {first['msg']} (it is {first['input']!r}). See .env.example."
        raise SettingsError(msg) from error


def _names_in_env_file() -> set[str]:
    path = CHECKOUT / ".env"
    if not path.is_file():
        return set()
    lines = (line.strip() for line in path.read_text().splitlines())
    return {line.split("=", 1)[0].strip() for line in lines if "=" in line and not line.startswith("#")}
