"""Wires the dispatcher; the only file that names its concrete adapters."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from chassis import inbox as inboxes
from chassis.clock import SystemClock
from chassis.consumer import Consumer
from chassis.due_items import DueItemsTick
from chassis.gate import Service
from chassis.grpc import GrpcServer
from chassis.identity.tokens import Authenticator
from chassis.message import new_id
from chassis.metrics import ChassisMetrics, MetricsServer
from chassis.outbox import Outbox
from chassis.producer import Producer
from chassis.relay import Relay
from chassis.request_limits import read_requests
from chassis.sink import TransactionalSink
from chassis.sql import build_engine
from chassis.timer import Timer
from chassis.watchdog import Watchdog
from paidan.dispatcher.v1 import dispatcher_service_pb2
from paidan.dispatcher.v1.dispatcher_service_pb2_grpc import add_DispatcherServiceServicer_to_server
from services.dispatcher.adapters import kafka, sql, tables
from services.dispatcher.adapters.access import ACCESS
from services.dispatcher.adapters.catalogue import load_catalogue
from services.dispatcher.adapters.errors import DOMAIN, translate
from services.dispatcher.adapters.events import SOURCE, Announcer
from services.dispatcher.adapters.grpc import DispatcherServicer
from services.dispatcher.adapters.history import Experience
from services.dispatcher.adapters.limits import LIMITS
from services.dispatcher.adapters.reading import SqlReading
from services.dispatcher.adapters.timer import DueDispatches
from services.dispatcher.application.ports import Office
from services.dispatcher.domain.choosing import Chooser
from services.dispatcher.telemetry import DispatcherMetrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chassis.lifecycle import Component
    from services.dispatcher.settings import DispatcherSettings

_GAUGE_INTERVAL = timedelta(seconds=5)
_HOUSEKEEPING_INTERVAL = timedelta(minutes=10)


def build(settings: DispatcherSettings) -> Sequence[Component]:
    """Return the components of the dispatcher, in the order in which they stop. Connects to nothing yet.

    Raises:
        CatalogueInvalid: The catalogue contradicts itself.
    """
    clock = SystemClock()
    chassis_metrics = ChassisMetrics()
    watchdog = Watchdog(chassis_metrics)
    metrics = DispatcherMetrics(chassis_metrics.registry)
    catalogue = load_catalogue(settings.catalogue)
    office = Office(clock=clock, chooser=Chooser(catalogue, settings.policy()), new_id=new_id)
    engine = build_engine(settings.database_url.get_secret_value(), service="dispatcher", pool_size=settings.database_pool_size)
    outbox = Outbox(tables.outbox, source=SOURCE)
    announcer = Announcer(catalogue)
    experience = Experience(clock, settings.experience_lifetime)
    reading = SqlReading(engine)
    handler = kafka.MessageHandler(office)

    def open_unit_of_work() -> sql.DispatcherUnitOfWork:
        return sql.DispatcherUnitOfWork(engine, outbox, announcer, experience, metrics)

    guard = DueItemsTick("guard-minute", DueDispatches(open_unit_of_work, office), chassis_metrics, batch=settings.guard_batch)

    def gauge() -> int:
        metrics.triage_waiting.set(reading.count_triage())
        metrics.unsubmitted.set(reading.count_unsubmitted())
        return 0

    def forget_messages() -> int:
        with engine.begin() as conn:
            return inboxes.forget(conn, tables.inbox, now=clock.now(), retention=settings.inbox_retention)

    return [
        GrpcServer(
            Service(
                name="paidan.dispatcher.v1.DispatcherService",
                register=lambda server: add_DispatcherServiceServicer_to_server(
                    DispatcherServicer(open_unit_of_work, reading, office),
                    server,
                ),
                access=ACCESS,
                requests=read_requests(dispatcher_service_pb2.DESCRIPTOR.services_by_name["DispatcherService"], LIMITS),
                domain=DOMAIN,
                translate=translate,
            ),
            Authenticator(engine, clock, lifetime=settings.token_cache_lifetime),
            chassis_metrics,
            address=settings.grpc_address,
            health_address=settings.health_address,
            threads=settings.grpc_threads,
            max_in_flight=settings.grpc_max_in_flight,
            healthy=watchdog.healthy,
        ),
        Consumer(
            kafka.topics(catalogue),
            TransactionalSink(
                open_unit_of_work,
                tables.inbox,
                handler,
                consumer=kafka.GROUP,
                clock=clock,
                metrics=chassis_metrics,
                message_id=kafka.message_id,
                relevant=kafka.relevant,
                limited=kafka.counts_against_limit,
                on_dead_letter=handler.tell_sender,
                on_repeated=handler.repeated,
            ),
            group=kafka.GROUP,
            client_options=settings.kafka.client_options(),
            metrics=chassis_metrics,
            batch=settings.consumer_batch,
            linger=settings.consumer_linger,
            session_timeout=settings.consumer_session_timeout,
            watch=watchdog.watch,
        ),
        Timer("guard-minute", settings.guard_interval, guard, watch=watchdog.watch),
        Timer("gauge", _GAUGE_INTERVAL, gauge, watch=watchdog.watch),
        Timer("forget-messages", _HOUSEKEEPING_INTERVAL, forget_messages, watch=watchdog.watch),
        Relay(
            engine,
            outbox,
            Producer(settings.kafka.client_options(), client_id="paidan-dispatcher-relay"),
            chassis_metrics,
            interval=settings.relay_interval,
            pace=settings.relay_pace,
            batch=settings.relay_batch,
            watch=watchdog.watch,
        ),
        watchdog,
        MetricsServer(chassis_metrics.registry, settings.metrics_address),
    ]
