"""Wires intake; the only file that names its concrete adapters."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from chassis import inbox as inboxes
from chassis.clock import SystemClock
from chassis.consumer import Consumer
from chassis.due_items import DueItemsTick
from chassis.gate import Service
from chassis.group_commit import GroupCommit
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
from paidan.intake.v1 import intake_service_pb2
from paidan.intake.v1.intake_service_pb2_grpc import add_IntakeServiceServicer_to_server
from services.intake.adapters import sql, tables
from services.intake.adapters.access import ACCESS
from services.intake.adapters.districts import load_districts
from services.intake.adapters.errors import DOMAIN, translate
from services.intake.adapters.events import READING, SOURCE
from services.intake.adapters.grpc import IntakeServicer
from services.intake.adapters.kafka import GROUP, TOPICS, handle_messages
from services.intake.adapters.limits import LIMITS
from services.intake.adapters.timer import DueForClosing
from services.intake.adapters.watch import WatchHub
from services.intake.application.close_resolved import CLOSE_BATCH
from services.intake.application.submit_tickets import Submitted, SubmitTicket, SubmitTickets
from services.intake.telemetry import IntakeMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chassis.lifecycle import Component
    from services.intake.domain.errors import RequestIdReused
    from services.intake.settings import IntakeSettings


def build(settings: IntakeSettings) -> Sequence[Component]:
    """Return the components of intake, in the order in which they stop. Connects to nothing yet.

    Raises:
        CatalogueUnusable: The catalogue's districts cannot be read.
    """
    clock = SystemClock()
    chassis_metrics = ChassisMetrics()
    watchdog = Watchdog(chassis_metrics)
    metrics = IntakeMetrics(chassis_metrics.registry)
    engine = build_engine(settings.database_url.get_secret_value(), service="intake", pool_size=settings.database_pool_size)
    outbox = Outbox(tables.outbox, source=SOURCE)
    hub = WatchHub(sql.SqlChangeLog(engine), interval=settings.watch_interval)

    def open_unit_of_work() -> sql.IntakeUnitOfWork:
        return sql.IntakeUnitOfWork(engine, outbox, on_change=hub.nudge)

    districts = load_districts(settings.catalogue)
    submit = SubmitTickets(clock, sql.new_ticket_id)
    group = GroupCommit(_submit_group(open_unit_of_work, submit, metrics), most=settings.submit_group, pace=settings.submit_pace)
    close_resolved = DueItemsTick(
        "close-resolved",
        DueForClosing(open_unit_of_work, clock, metrics),
        chassis_metrics,
        batch=CLOSE_BATCH,
    )

    def forget_messages() -> int:
        with engine.begin() as conn:
            return inboxes.forget(conn, tables.inbox, now=clock.now(), retention=settings.inbox_retention)

    return [
        GrpcServer(
            Service(
                name="paidan.intake.v1.IntakeService",
                register=lambda server: add_IntakeServiceServicer_to_server(
                    IntakeServicer(open_unit_of_work, group.submit, hub, clock, districts),
                    server,
                ),
                access=ACCESS,
                requests=read_requests(intake_service_pb2.DESCRIPTOR.services_by_name["IntakeService"], LIMITS),
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
        group,
        hub,
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
            client_options=settings.kafka.client_options(),
            metrics=chassis_metrics,
            batch=settings.consumer_batch,
            linger=settings.consumer_linger,
            session_timeout=settings.consumer_session_timeout,
            watch=watchdog.watch,
        ),
        Timer("close-resolved", settings.close_interval, close_resolved, watch=watchdog.watch),
        Timer("forget-messages", timedelta(minutes=10), forget_messages, watch=watchdog.watch),
        Relay(
            engine,
            outbox,
            Producer(settings.kafka.client_options(), client_id="paidan-intake-relay"),
            chassis_metrics,
            interval=settings.relay_interval,
            pace=settings.relay_pace,
            batch=settings.relay_batch,
            watch=watchdog.watch,
        ),
        watchdog,
        MetricsServer(chassis_metrics.registry, settings.metrics_address),
    ]


def _submit_group(
    open_unit_of_work: Callable[[], sql.IntakeUnitOfWork],
    submit: SubmitTickets,
    metrics: IntakeMetrics,
) -> Callable[[Sequence[SubmitTicket]], Sequence[Submitted | RequestIdReused]]:
    def carry_out(commands: Sequence[SubmitTicket]) -> Sequence[Submitted | RequestIdReused]:
        with open_unit_of_work() as uow:
            answers = submit(uow, commands)
            uow.commit()
        metrics.group_size.observe(len(commands))
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(answer, Submitted) and answer.duplicate:
                metrics.repeated.inc()
            elif isinstance(answer, Submitted):
                metrics.submitted.labels(command.portal, command.channel.value).inc()
        return answers

    return carry_out
