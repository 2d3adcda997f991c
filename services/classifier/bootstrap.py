"""Puts the classifier together; the only file that names concrete adapters."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from chassis import inbox as inboxes
from chassis.clock import SystemClock
from chassis.consumer import Consumer
from chassis.gate import Service
from chassis.grpc import GrpcServer
from chassis.identity.tokens import Authenticator
from chassis.metrics import ChassisMetrics, MetricsServer
from chassis.outbox import Outbox
from chassis.producer import Producer
from chassis.relay import Relay
from chassis.request_limits import read_requests
from chassis.sink import ProducingSink, TransactionalSink
from chassis.sql import build_engine
from chassis.timer import Timer
from chassis.watchdog import Watchdog
from paidan.classifier.v1 import classifier_service_pb2
from paidan.classifier.v1.classifier_service_pb2_grpc import add_ClassifierServiceServicer_to_server
from services.classifier.adapters import outcome_events, sql, tables
from services.classifier.adapters.access import ACCESS
from services.classifier.adapters.chat_completions import ChatEndpoint
from services.classifier.adapters.duties import read_duties
from services.classifier.adapters.errors import DOMAIN, translate
from services.classifier.adapters.events import SOURCE, TICKETS, UNSURE
from services.classifier.adapters.grpc import SERVICE, ClassifierServicer
from services.classifier.adapters.kafka import TicketHandler, UnsureHandler
from services.classifier.adapters.language_model import LanguageModel, Limits
from services.classifier.adapters.learning import GROUP, Contained, OutcomeHandler
from services.classifier.adapters.limits import LIMITS
from services.classifier.adapters.model_store import ModelFolder, ModelSlot
from services.classifier.adapters.outcome_events import READING
from services.classifier.adapters.shadow import Shadow
from services.classifier.adapters.sql import ClassifierUnitOfWork
from services.classifier.adapters.tables import SCHEMA
from services.classifier.adapters.timer import ModelWatch
from services.classifier.domain.advice import AdvicePolicy
from services.classifier.telemetry import ClassifierMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Engine

    from chassis.clock import Clock
    from chassis.lifecycle import Component
    from chassis.message import InMessage, OutMessage
    from chassis.watchdog import Watch
    from services.classifier.application.ports import Adviser
    from services.classifier.settings import ClassifierSettings

_LEARNING_BATCH = 2000
"""Nobody waits for what is learnt: few large transactions instead of many small ones, so that the hot path keeps the processor."""


def build(settings: ClassifierSettings) -> list[Component]:
    """Return what runs, in the order in which it is to stop. Loads the model; reaches for nothing else yet."""
    clock = SystemClock()
    common = ChassisMetrics()
    watchdog = Watchdog(common)
    metrics = ClassifierMetrics(common.registry)
    engine = build_engine(settings.database_url.get_secret_value(), service=SCHEMA, pool_size=settings.database_pool_size)
    slot = ModelSlot(ModelFolder(settings.classifier_model_dir))
    watch = ModelWatch(slot, lambda: ClassifierUnitOfWork(engine), clock, metrics)
    watch.load()
    shadow = None
    if settings.classifier_shadow_dir is not None:
        shadow = Shadow(ModelSlot(ModelFolder(settings.classifier_shadow_dir)), sql.SqlShadowRecord(engine), metrics)

    servicer = ClassifierServicer(slot, metrics)
    grpc = GrpcServer(
        Service(
            name=SERVICE,
            register=lambda server: add_ClassifierServiceServicer_to_server(servicer, server),
            access=ACCESS,
            requests=read_requests(classifier_service_pb2.DESCRIPTOR.services_by_name["ClassifierService"], LIMITS),
            domain=DOMAIN,
            translate=translate,
        ),
        Authenticator(engine, clock, lifetime=settings.token_cache_lifetime),
        common,
        address=settings.grpc_address,
        health_address=settings.health_address,
        threads=settings.grpc_threads,
        max_in_flight=settings.grpc_max_in_flight,
        healthy=watchdog.healthy,
    )
    adviser = _adviser(settings, clock, metrics)

    def consumer(topic: str, handler: Callable[[Sequence[InMessage]], Sequence[OutMessage]], *, name: str, batch: int) -> Consumer:
        options = settings.kafka.client_options()
        return Consumer(
            [topic],
            ProducingSink(handler, Producer(options, client_id=name), source=SOURCE, consumer="classifier", clock=clock, metrics=common),
            group=f"paidan-{name}",
            client_options=options,
            metrics=common,
            batch=batch,
            linger=settings.consumer_linger,
            session_timeout=settings.consumer_session_timeout,
            watch=watchdog.watch,
        )

    offered = (shadow.offer,) if shadow else ()
    tickets = TicketHandler(slot, clock, metrics, *offered, pass_on_unsure=adviser is not None)
    consumers = [consumer(TICKETS, tickets, name="classifier", batch=settings.consumer_batch)]
    if adviser is not None:
        unsure = UnsureHandler(slot, clock, adviser, metrics)
        consumers.append(consumer(UNSURE, unsure, name="classifier-advice", batch=settings.classifier_llm_concurrency))
    model_watch = Timer("model_watch", settings.classifier_model_interval, watch.tick, watch=watchdog.watch)
    return [
        grpc,
        *consumers,
        model_watch,
        *(_comparing(shadow, settings) if shadow else ()),
        *(
            _learning(settings, engine, clock, common, metrics, watch=partial(watchdog.watch, critical=False))
            if settings.classifier_learn
            else ()
        ),
        watchdog,
        MetricsServer(common.registry, settings.metrics_address),
    ]


def _comparing(shadow: Shadow, settings: ClassifierSettings) -> list[Component]:
    shadow.follow()
    return [
        Timer("shadow_watch", settings.classifier_model_interval, shadow.follow),
        Timer("shadow", timedelta(milliseconds=200), shadow.tick),
    ]


def _learning(
    settings: ClassifierSettings,
    engine: Engine,
    clock: Clock,
    common: ChassisMetrics,
    metrics: ClassifierMetrics,
    *,
    watch: Watch,
) -> list[Component]:
    """Return what takes in outcomes: apart from the hot path, and none of its failures ends that."""
    options = settings.kafka.client_options()
    outbox = Outbox(tables.outbox, source=SOURCE)

    def forget() -> int:
        with engine.begin() as conn:
            return inboxes.forget(conn, tables.inbox, now=clock.now(), retention=settings.inbox_retention) + sql.forget_outcomes(
                conn, now=clock.now(), retention=settings.classifier_outcome_retention
            )

    components: list[Component] = [
        Consumer(
            outcome_events.TOPICS,
            TransactionalSink(
                lambda: sql.SqlLearningUnitOfWork(engine, outbox, clock, metrics),
                tables.inbox,
                OutcomeHandler(read_duties(settings.classifier_catalogue)),
                consumer=GROUP,
                clock=clock,
                metrics=common,
                relevant=READING.heeds,
            ),
            group=GROUP,
            client_options=options,
            metrics=common,
            batch=_LEARNING_BATCH,
            linger=settings.classifier_learn_linger,
            session_timeout=settings.consumer_session_timeout,
            watch=watch,
        ),
        Timer("forget-outcomes", timedelta(minutes=10), forget, watch=watch),
        Relay(
            engine,
            outbox,
            Producer(options, client_id="paidan-classifier-relay"),
            common,
            interval=settings.relay_interval,
            batch=settings.relay_batch,
            pace=settings.relay_pace,
            watch=watch,
        ),
    ]
    return [Contained(component, metrics) for component in components]


def _adviser(settings: ClassifierSettings, clock: Clock, metrics: ClassifierMetrics) -> Adviser | None:
    """Return the language model, if there is to be one."""
    if settings.classifier_llm_base_url is None:
        return None
    key = settings.classifier_llm_key
    endpoint = ChatEndpoint(
        settings.classifier_llm_base_url,
        model=settings.classifier_llm_model,
        key=None if key is None else key.get_secret_value(),
        most_tokens=settings.classifier_llm_most_tokens,
    )
    limits = Limits(settings.classifier_llm_timeout, settings.classifier_llm_answer_within, settings.classifier_llm_concurrency)
    policy = AdvicePolicy(settings.classifier_llm_model, settings.classifier_llm_threshold)
    return LanguageModel(endpoint, policy, limits, clock=clock, metrics=metrics)
