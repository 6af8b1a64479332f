"""Java and the pinned jars that ``./run`` retrieved."""

import shutil
from pathlib import Path
from typing import Final

from market.errors import ServiceError
from market.settings import CHECKOUT, Settings

KAFKA_JARS: Final = CHECKOUT / ".cache" / "jars" / "kafka"


def kafka_classpath() -> str:
    """Return the class path of the Kafka broker.

    Raises
    ------
    ServiceError
        If the jars are not there.
    """
    if not any(KAFKA_JARS.glob("kafka_*.jar")):
        msg = f"The Kafka jars are missing from {KAFKA_JARS}. Start Tapehouse by ./run, which retrieves them."
        raise ServiceError(msg)
    return str(KAFKA_JARS / "*")


def java(settings: Settings) -> Path:
    """Return the Java program: of ``JAVA_HOME`` if that is set, else of the ``PATH``.

    Raises
    ------
    ServiceError
        If there is none.
    """
    if settings.java_home is not None:
        program = settings.java_home / "bin" / "java"
        if program.is_file():
            return program
        msg = f"There is no Java at {program}. JAVA_HOME must name a folder with Java 17 or newer, or be unset."
        raise ServiceError(msg)
    on_path = shutil.which("java")
    if on_path is None:
        msg = "Java was not found. Install Java 17 or newer; ./run says how."
        raise ServiceError(msg)
    return Path(on_path)
