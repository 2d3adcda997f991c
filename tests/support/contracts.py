"""The fields of the four services' requests, found in the contracts: every place where a caller can put something."""

from __future__ import annotations

import base64
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from paidan.classifier.v1 import classifier_service_pb2
from paidan.dispatcher.v1 import dispatcher_service_pb2
from paidan.intake.v1 import intake_service_pb2
from paidan.sla.v1 import sla_service_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import grpc
    from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
    from google.protobuf.message import Message

SERVICES: dict[str, ServiceDescriptor] = {
    "intake": intake_service_pb2.DESCRIPTOR.services_by_name["IntakeService"],
    "classifier": classifier_service_pb2.DESCRIPTOR.services_by_name["ClassifierService"],
    "dispatcher": dispatcher_service_pb2.DESCRIPTOR.services_by_name["DispatcherService"],
    "sla": sla_service_pb2.DESCRIPTOR.services_by_name["SlaService"],
}
METHODS = [(name, method) for name, service in SERVICES.items() for method in service.methods]


@dataclass(frozen=True)
class Place:
    """A field of a request, however deep inside.

    Attributes:
        service: Name of the service.
        method: The method whose request it is in.
        fields: The fields that lead to it, itself last.
    """

    service: str
    method: MethodDescriptor
    fields: tuple[FieldDescriptor, ...]

    @property
    def path(self) -> str:
        """Its path as a refusal names it, in the first entry of every list."""
        return ".".join(f"{field.name}[0]" if field.is_repeated else field.name for field in self.fields)

    def __str__(self) -> str:
        return f"{self.service}.{self.method.name}.{self.path}"

    def request(self, *values: Any) -> Message:
        """Return a request that holds `values` there, one unless the field is a list, and nothing else."""
        request = GetMessageClass(self.method.input_type)()
        message: Any = request
        for field in self.fields[:-1]:
            inner = getattr(message, field.name)
            message = inner.add() if field.is_repeated else inner
            message.SetInParent()
        last = self.fields[-1]
        if last.is_repeated:
            getattr(message, last.name).extend(values)
        elif last.message_type is not None:
            getattr(message, last.name).CopyFrom(values[0])
        else:
            setattr(message, last.name, values[0])
        return request


def places(wanted: Callable[[FieldDescriptor], bool]) -> list[Place]:
    """Return every place of every request whose field is wanted."""
    return [Place(name, method, fields) for name, method in METHODS for fields in _inside(method.input_type, ()) if wanted(fields[-1])]


def is_string(field: FieldDescriptor) -> bool:
    return bool(field.type == FieldDescriptor.TYPE_STRING)


def is_timestamp(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp"


def is_enum(field: FieldDescriptor) -> bool:
    return field.enum_type is not None


def is_list(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)


def wire_size(error: grpc.RpcError) -> int:
    """Return the bytes of a refusal's trailers as HTTP/2 counts them, 32 for each beside its name and value (RFC 9113, section 6.5.2)."""
    trailers = [(key, base64.b64encode(value) if key.endswith("-bin") else value) for key, value in error.trailing_metadata()]
    trailers += [("grpc-message", urllib.parse.quote(error.details() or "")), ("grpc-status", "13")]
    return sum(len(key) + len(value) + 32 for key, value in trailers)


def _inside(descriptor: Descriptor, before: tuple[FieldDescriptor, ...]) -> Iterator[tuple[FieldDescriptor, ...]]:
    for field in descriptor.fields:
        fields = (*before, field)
        yield fields
        if field.message_type is not None and not is_timestamp(field):
            yield from _inside(field.message_type, fields)
