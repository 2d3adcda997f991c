"""Puts the classifier together; the only file that names concrete adapters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chassis.clock import SystemClock
from chassis.grpc import GrpcServer, Service
from chassis.identity.tokens import Authenticator
from chassis.kafka import Consumer, Producer, ProducingSink
from chassis.metrics import ChassisMetrics, MetricsServer
from chassis.sql import build_engine
from chassis.timer import Timer
from paidan.classifier.v1.classifier_service_pb2_grpc import add_ClassifierServiceServicer_to_server
from services.classifier.adapters.access import ACCESS
from services.classifier.adapters.errors import DOMAIN, translate
from services.classifier.adapters.events import SOURCE, TICKETS
from services.classifier.adapters.grpc import SERVICE, ClassifierServicer
from services.classifier.adapters.kafka import TicketHandler
from services.classifier.adapters.model_store import ModelFolder, ModelSlot
from services.classifier.adapters.sql import SCHEMA, ClassifierUnitOfWork
from services.classifier.adapters.timer import ModelWatch
from services.classifier.telemetry import ClassifierMetrics

if TYPE_CHECKING:
    from chassis.lifecycle import Component
    from services.classifier.settings import ClassifierSettings


def build(settings: ClassifierSettings) -> list[Component]:
    """Return what runs, in the order in which it is to stop. Loads the model; reaches for nothing else yet."""
    clock = SystemClock()
    common = ChassisMetrics()
    metrics = ClassifierMetrics(common.registry)
    engine = build_engine(settings.database_url.get_secret_value(), service=SCHEMA, pool_size=settings.database_pool_size)
    slot = ModelSlot(ModelFolder(settings.classifier_model_dir))
    watch = ModelWatch(slot, lambda: ClassifierUnitOfWork(engine), clock, metrics)
    watch.load()

    servicer = ClassifierServicer(slot, metrics)
    grpc = GrpcServer(
        Service(
            name=SERVICE,
            register=lambda server: add_ClassifierServiceServicer_to_server(servicer, server),
            access=ACCESS,
            domain=DOMAIN,
            translate=translate,
        ),
        Authenticator(engine, clock, lifetime=settings.token_cache_lifetime),
        common,
        address=settings.grpc_address,
        health_address=settings.health_address,
        threads=settings.grpc_threads,
        max_in_flight=settings.grpc_max_in_flight,
    )
    consumer = Consumer(
        [TICKETS],
        ProducingSink(
            TicketHandler(slot, clock, metrics),
            Producer(settings.kafka.client_options(), client_id="classifier"),
            source=SOURCE,
            consumer="classifier",
            clock=clock,
            metrics=common,
        ),
        group="paidan-classifier",
        client_options=settings.kafka.client_options(),
        metrics=common,
        batch=settings.consumer_batch,
        linger=settings.consumer_linger,
        session_timeout=settings.consumer_session_timeout,
    )
    model_watch = Timer("model_watch", settings.classifier_model_interval, watch.tick)
    return [grpc, consumer, model_watch, MetricsServer(common.registry, settings.metrics_address)]
