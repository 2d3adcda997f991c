"""The door for programs: recognition on request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from paidan.classifier.v1 import classifier_service_pb2 as pb
from paidan.classifier.v1 import classifier_service_pb2_grpc as pb_grpc
from services.classifier.adapters.events import to_proto
from services.classifier.application.classify import Classify, classify
from services.classifier.application.classify_batch import ClassifyBatch, classify_batch
from services.classifier.application.get_model import get_model
from services.classifier.application.list_classes import list_classes

if TYPE_CHECKING:
    from services.classifier.application.ports import Models
    from services.classifier.telemetry import ClassifierMetrics

SERVICE = pb.DESCRIPTOR.services_by_name["ClassifierService"].full_name


class ClassifierServicer(pb_grpc.ClassifierServiceServicer):
    """Answers `ClassifierService`."""

    def __init__(self, models: Models, metrics: ClassifierMetrics) -> None:
        self._models = models
        self._metrics = metrics

    def Classify(self, request: pb.ClassifyRequest, context: object) -> pb.ClassifyResponse:  # noqa: N802, ARG002
        """Classify one text."""
        started = time.perf_counter()
        classification = classify(self._models, Classify(text=request.text, top_k=request.top_k))
        self._metrics.count([classification], time.perf_counter() - started)
        return pb.ClassifyResponse(classification=to_proto(classification))

    def ClassifyBatch(self, request: pb.ClassifyBatchRequest, context: object) -> pb.ClassifyBatchResponse:  # noqa: N802, ARG002
        """Classify many texts at once."""
        started = time.perf_counter()
        classifications = classify_batch(self._models, ClassifyBatch(texts=tuple(request.texts), top_k=request.top_k))
        self._metrics.count(classifications, time.perf_counter() - started)
        return pb.ClassifyBatchResponse(classifications=[to_proto(each) for each in classifications])

    def ListClasses(self, request: pb.ListClassesRequest, context: object) -> pb.ListClassesResponse:  # noqa: N802, ARG002
        """List the classes that the model knows."""
        classes = [
            pb.Class(code=each.code, name_zh=each.name_zh, name_en=each.name_en, domain_zh=each.domain_zh)
            for each in list_classes(self._models)
        ]
        return pb.ListClassesResponse(classes=classes)

    def GetModel(self, request: pb.GetModelRequest, context: object) -> pb.GetModelResponse:  # noqa: N802, ARG002
        """Tell which model answers."""
        release = get_model(self._models)
        model = pb.Model(
            version=release.version,
            sha256=release.sha256,
            training_texts=release.training_texts,
            cross_validated_accuracy=release.cross_validated_accuracy,
            abstain_threshold=release.policy.threshold,
        )
        model.train_time.FromDatetime(release.train_time)
        return pb.GetModelResponse(model=model)
