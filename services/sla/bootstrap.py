"""Wires the SLA service; the only file that names its concrete adapters."""

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
from chassis.metrics import ChassisMetrics, MetricsServer
from chassis.outbox import Outbox
from chassis.producer import Producer
from chassis.relay import Relay
from chassis.request_limits import read_requests
from chassis.sink import TransactionalSink
from chassis.sql import build_engine
from chassis.timer import Timer
from chassis.watchdog import Watchdog
from paidan.sla.v1 import sla_service_pb2
from paidan.sla.v1.sla_service_pb2_grpc import add_SlaServiceServicer_to_server
from services.sla.adapters import sql, tables
from services.sla.adapters.access import ACCESS
from services.sla.adapters.calendar import FollowedRules
from services.sla.adapters.errors import DOMAIN, translate
from services.sla.adapters.events import READING, SOURCE
from services.sla.adapters.grpc import SlaServicer
from services.sla.adapters.horizon import Horizon, KafkaProgress
from services.sla.adapters.kafka import GROUP, TOPICS, handle_messages
from services.sla.adapters.limits import LIMITS
from services.sla.adapters.timer import DueDeadlines, OutdatedDeadlines, TallyTick
from services.sla.telemetry import SlaMetrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chassis.due_items import DueItems
    from chassis.lifecycle import Component
    from services.sla.settings import SlaSettings


def build(settings: SlaSettings) -> Sequence[Component]:
    """Return the components of the SLA service, in the order in which they stop. Reads the calendar; connects to nothing yet.

    Raises:
        NoticesUnreadable: There is no calendar to count by.
    """
    clock = SystemClock()
    chassis_metrics = ChassisMetrics()
    watchdog = Watchdog(chassis_metrics)
    metrics = SlaMetrics(chassis_metrics.registry)
    engine = build_engine(settings.database_url.get_secret_value(), service=tables.SCHEMA, pool_size=settings.database_pool_size)
    outbox = Outbox(tables.outbox, source=SOURCE)
    rules = FollowedRules(settings.notices, settings.rules)
    reader = sql.SqlDeadlineReader(engine)
    client_options = settings.kafka.client_options()

    def open_unit_of_work() -> sql.SlaUnitOfWork:
        return sql.SlaUnitOfWork(engine, outbox, rules.current, metrics)

    def forget_messages() -> int:
        with engine.begin() as conn:
            return inboxes.forget(conn, tables.inbox, now=clock.now(), retention=settings.inbox_retention)

    def isolated(name: str, items: DueItems) -> DueItemsTick:
        return DueItemsTick(name, items, chassis_metrics, batch=settings.tick_batch)

    horizon = Horizon(KafkaProgress(TOPICS, GROUP, client_options), clock, recovery=settings.recovery_grace)
    return [
        GrpcServer(
            Service(
                name="paidan.sla.v1.SlaService",
                register=lambda server: add_SlaServiceServicer_to_server(SlaServicer(reader, rules.current), server),
                access=ACCESS,
                requests=read_requests(sla_service_pb2.DESCRIPTOR.services_by_name["SlaService"], LIMITS),
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
            TOPICS,
            TransactionalSink(
                open_unit_of_work,
                tables.inbox,
                handle_messages,
                consumer=GROUP,
                clock=clock,
                metrics=chassis_metrics,
                relevant=READING.heeds,
            ),
            group=GROUP,
            client_options=client_options,
            metrics=chassis_metrics,
            batch=settings.consumer_batch,
            linger=settings.consumer_linger,
            session_timeout=settings.consumer_session_timeout,
            watch=watchdog.watch,
        ),
        Timer(
            "calendar",
            settings.notices_interval,
            isolated("calendar", OutdatedDeadlines(open_unit_of_work, rules, clock, metrics)),
            watch=watchdog.watch,
        ),
        Timer(
            "due",
            settings.tick_interval,
            isolated("due", DueDeadlines(open_unit_of_work, horizon, clock, metrics)),
            watch=watchdog.watch,
        ),
        Timer("tallies", settings.tally_interval, TallyTick(reader, metrics), watch=watchdog.watch),
        Timer("forget-messages", timedelta(minutes=10), forget_messages, watch=watchdog.watch),
        Relay(
            engine,
            outbox,
            Producer(client_options, client_id="paidan-sla-relay"),
            chassis_metrics,
            interval=settings.relay_interval,
            pace=settings.relay_pace,
            batch=settings.relay_batch,
            watch=watchdog.watch,
        ),
        watchdog,
        MetricsServer(chassis_metrics.registry, settings.metrics_address),
    ]
