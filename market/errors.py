"""The error tree. Every error that a user can meet says what was wrong, with the value, and what to do."""


class TapehouseError(Exception):
    """Base of every error that Tapehouse raises on purpose; its text is written for the user.

    Attributes
    ----------
    exit_code
        What the command line exits with: 1 when something failed, 2 when it was asked wrongly.
    """

    exit_code = 1


class UsageError(TapehouseError):
    """The request itself is wrong: an unknown symbol, an end before the start, a bad setting."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting is unknown, missing or has a value that cannot be used."""


class NoDataError(UsageError):
    """There is nothing of what was asked for."""


class FeedError(UsageError):
    """A feed cannot give what was asked: a missing or corrupt file, an unknown symbol or range."""


class PublishError(TapehouseError):
    """Messages could not be delivered to the broker."""


class ServiceError(TapehouseError):
    """An engine (Kafka, PostgreSQL, Spark, Dagster) could not be started or reached."""


class ModelsFailedError(ServiceError):
    """A model of the marts could not be built, or a test of one failed: it would fail again."""


class ImpossibleValuesError(ServiceError):
    """A table holds what its column cannot have, and so nothing is made from it."""


class RefusedValuesError(ServiceError):
    """PostgreSQL refused what was to be written: it would refuse the same again."""


class RefusedStatementError(ServiceError):
    """PostgreSQL refused a statement whatever its values: a defect, or a database that is not brought up to date."""


class HomeBusyError(ServiceError):
    """Another Tapehouse is already running on this home."""


class SchemaDriftError(TapehouseError):
    """A stored table differs from its declaration in a way that cannot be mended by adding columns."""


class CheckpointError(TapehouseError):
    """The stream's checkpoint is missing, damaged or does not fit the lake."""


class QueryError(TapehouseError):
    """PostgreSQL refused a question, or it took too long."""


class RuleError(UsageError):
    """A rule cannot be read, names something that there is not, or can never fire."""


class DeliveryError(TapehouseError):
    """A message did not reach its receiver, or nobody knows whether it did."""
