"""The embedded Kafka: one real broker in KRaft mode, broker and controller in one process, on 127.0.0.1."""

import shutil
import socket
import struct
import uuid
from base64 import urlsafe_b64encode
from typing import Final

from infra.local.disk import disk_errors
from infra.local.home import Home
from infra.local.jars import java, kafka_classpath
from infra.local.ports import HOST, claim_ports
from infra.local.processes import Command, run_to_end
from infra.local.service import Service
from market.settings import Settings, inherited_environment

NAME: Final = "kafka"
BROKER_PORT: Final = "kafka"
CONTROLLER_PORT: Final = "kafka-controller"
PROBE_TIMEOUT_SECONDS: Final = 1.0

# Serial collection needs the least memory beside the heap, and the broker's work is in the page cache, not on the heap.
_JVM: Final = ("-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true")
_TOOL_JVM: Final = ("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

_PROPERTIES: Final = """\
# Written at every start: the ports may have changed.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=BROKER://{host}:{broker_port},CONTROLLER://{host}:{controller_port}
advertised.listeners=BROKER://{host}:{broker_port}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
# Relative to the working folder, so that no character of a path needs escaping.
log.dirs=data
# Topics are declared, with their partitions and retention; a misspelt one must not come into being.
auto.create.topics.enable=false
# One node: every internal topic has one replica and few partitions.
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
offsets.topic.segment.bytes=8388608
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.state.log.segment.bytes=8388608
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
log.segment.bytes=134217728
group.initial.rebalance.delay.ms=0
# There is no other replica: what was acknowledged is forced to the disk within a second, should the power fail.
log.flush.interval.ms=1000
log.flush.scheduler.interval.ms=500
num.network.threads=2
num.io.threads=4
"""

_LOGGING: Final = """\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = ${sys:tapehouse.log}
appender.file.filePattern = ${sys:tapehouse.log}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %p %m (%c{1})%n%throwable
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
"""


def kafka_service(home: Home, settings: Settings) -> tuple[Service, str]:
    """Return the embedded broker as a service, and its address.

    Raises
    ------
    ServiceError
        If Java or the jars are missing, or no port is free.
    """
    ports = claim_ports(home, BROKER_PORT, CONTROLLER_PORT)
    broker_port, controller_port = ports[BROKER_PORT], ports[CONTROLLER_PORT]
    program, classpath = str(java(settings)), kafka_classpath()
    properties, logging, log_file = (
        home.kafka / "server.properties",
        home.kafka / "log4j2.properties",
        home.log_file(NAME),
    )

    def tool(name: str, *arguments: str, jvm: tuple[str, ...] = _TOOL_JVM) -> Command:
        log_settings = (f"-Dtapehouse.log={log_file}", f"-Dlog4j2.configurationFile={logging.as_uri()}")
        return Command(
            name=name,
            arguments=(program, *jvm, *log_settings, "-cp", classpath, *arguments),
            log_file=log_file,
            environment=inherited_environment(),
            folder=home.kafka,
        )

    def prepare() -> None:
        data = home.kafka / "data"
        with disk_errors(home.kafka):
            home.kafka.mkdir(mode=0o700, exist_ok=True)
            logging.write_text(_LOGGING)
            properties.write_text(
                _PROPERTIES.format(host=HOST, broker_port=broker_port, controller_port=controller_port)
            )
            if (data / "meta.properties").is_file():
                return
            shutil.rmtree(data, ignore_errors=True)  # formatting was cut short
        format_storage = ("kafka.tools.StorageTool", "format", "-t", _new_cluster_id(), "-c", properties.name)
        run_to_end(tool("Kafka's formatting of its storage", *format_storage))

    service = Service(
        command=tool(NAME, "kafka.Kafka", properties.name, jvm=_JVM),
        prepare=prepare,
        is_ready=lambda: broker_answers(HOST, broker_port),
    )
    return service, f"{HOST}:{broker_port}"


def broker_answers(host: str, port: int, timeout_seconds: float = PROBE_TIMEOUT_SECONDS) -> bool:
    """Return whether a broker answers there, asked for the versions that it speaks (the protocol's first request)."""
    api_versions, version, correlation, no_client = 18, 0, 7, -1
    request = struct.pack(">hhih", api_versions, version, correlation, no_client)
    try:
        with socket.create_connection((host, port), timeout=timeout_seconds) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = connection.makefile("rb").read(10)
    except OSError:
        return False
    if len(answer) < struct.calcsize(">iih"):
        return False
    _, correlated, error = struct.unpack(">iih", answer)
    return correlated == correlation and error == 0


def _new_cluster_id() -> str:
    """Return a random id as Kafka writes them: 16 bytes, base64, without padding and not starting with a hyphen."""
    while True:
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not cluster_id.startswith("-"):
            return cluster_id
