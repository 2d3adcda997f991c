"""Parses requests from bytes and checks every string, list and timestamp against its limit, before the method runs.

A service declares one table of limits. The readers are built from the contract's descriptors at startup. A table that lacks a field is an
error, so that a new field cannot be forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from chassis.instant import RANGE, to_instant
from chassis.refusal import Refusal, RefusalKind, Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from google.protobuf.descriptor import Descriptor, ServiceDescriptor
    from google.protobuf.message import Message

    ReadRequest = Callable[[bytes], Message]

_TIMESTAMP = "google.protobuf.Timestamp"


@dataclass(frozen=True, slots=True)
class Limit:
    """Limits of one field.

    Attributes:
        characters: Longest string, in characters as sent; 0 if the field is no string.
        items: Longest list; 0 if the field is no list.
        domain_checked: True if the domain checks for NUL itself, so that one refusal names all violations of a form.
        reason: Error reason of the refusal.
    """

    characters: int = 0
    items: int = 0
    domain_checked: bool = False
    reason: str = "INVALID_FIELD"


PAGE_TOKEN = Limit(characters=2000, reason="INVALID_PAGE_TOKEN")


class LimitsIncomplete(Exception):
    """A table of limits does not match the contract.

    Attributes:
        fields: Fields without a limit of the right kind, and limits without a field.
    """

    def __init__(self, fields: list[str]) -> None:
        super().__init__(", ".join(fields))
        self.fields = tuple(fields)


def read_requests(service: ServiceDescriptor, limits: Mapping[str, Limit]) -> Mapping[str, ReadRequest]:
    """Return a reader for each method of a service.

    A reader returns the request, or raises a `Refusal`: `MALFORMED_REQUEST` for bytes that are not such a message, `INVALID_FIELD` for
    fields beyond their limits.

    Args:
        service: The service.
        limits: Limits by `Message.field`, for each string and each list of each request and of the messages inside.

    Raises:
        LimitsIncomplete: A field has no limit, or a limit no field.
    """
    plans: dict[str, _Plan] = {}
    for method in service.methods:
        _plan(method.input_type, limits, plans)
    declared = {f"{plan.name}.{field.name}" for plan in plans.values() for field in plan.fields if field.limit is not None}
    wrong = [problem for plan in plans.values() for problem in plan.problems] + sorted(limits.keys() - declared)
    if wrong:
        raise LimitsIncomplete(wrong)
    return {method.name: _reader(method.input_type, plans[method.input_type.full_name]) for method in service.methods}


def _reader(descriptor: Descriptor, plan: _Plan) -> ReadRequest:
    kind = GetMessageClass(descriptor)

    def read(data: bytes) -> Message:
        try:
            request: Message = kind.FromString(data)
        except DecodeError as error:
            message = f"the bytes are no {descriptor.full_name}; build the client from the contract"
            raise Refusal(RefusalKind.INVALID, "MALFORMED_REQUEST", message) from error
        found = list(plan.check(request, ""))
        if found:
            reasons = {reason for reason, _ in found}
            raise Refusal.of_fields([violation for _, violation in found], reason=reasons.pop() if len(reasons) == 1 else "INVALID_FIELD")
        return request

    return read


@dataclass(frozen=True, slots=True)
class _Field:
    """How one field is checked.

    Attributes:
        name: Its name.
        limit: Its limit; None if it needs none.
        is_list: True if it is repeated.
        is_string: True if its values are strings.
        is_timestamp: True if its values are timestamps.
        plan: How its values are checked if they are messages.
    """

    name: str
    limit: Limit | None
    is_list: bool
    is_string: bool
    is_timestamp: bool
    plan: _Plan | None


class _Plan:
    """How the fields of a message are checked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fields: list[_Field] = []
        self.problems: list[str] = []

    def check(self, message: Message, path: str) -> Iterator[tuple[str, Violation]]:
        """Yield each violation of a limit with its reason."""
        for field in self.fields:
            where = f"{path}{field.name}"
            value = getattr(message, field.name)
            if not field.is_list:
                if field.is_string or message.HasField(field.name):
                    yield from _check_value(field, value, where)
            elif field.limit is not None and len(value) > field.limit.items:
                description = f"has {len(value)} entries, at most {field.limit.items} are allowed"
                yield field.limit.reason, Violation(where, description)
            elif field.is_string or field.is_timestamp or field.plan is not None:
                for index, each in enumerate(value):
                    yield from _check_value(field, each, f"{where}[{index}]")


def _check_value(field: _Field, value: object, where: str) -> Iterator[tuple[str, Violation]]:
    if field.plan is not None:
        yield from field.plan.check(value, f"{where}.")  # type: ignore[arg-type]  # a message, by the descriptor
    elif field.is_timestamp:
        try:
            to_instant(value)  # type: ignore[arg-type]  # a Timestamp, by the descriptor
        except ValueError:
            yield "INVALID_FIELD", Violation(where, RANGE)
    elif isinstance(value, str) and field.limit is not None:
        if len(value) > field.limit.characters:
            description = f"has {len(value)} characters, at most {field.limit.characters} are allowed"
            yield field.limit.reason, Violation(where, description)
        elif not field.limit.domain_checked and (index := value.find("\x00")) >= 0:
            yield field.limit.reason, Violation(where, f"holds the character U+0000 at position {index + 1}, which is not allowed")


def _plan(descriptor: Descriptor, limits: Mapping[str, Limit], plans: dict[str, _Plan]) -> _Plan:
    """Return the plan of a message; store it and the plans of nested messages in `plans`."""
    if descriptor.full_name in plans:
        return plans[descriptor.full_name]
    plan = plans[descriptor.full_name] = _Plan(descriptor.name)
    for field in descriptor.fields:
        key = f"{descriptor.name}.{field.name}"
        limit = limits.get(key)
        is_string = field.type == FieldDescriptor.TYPE_STRING
        is_timestamp = field.message_type is not None and field.message_type.full_name == _TIMESTAMP
        if is_string != bool(limit and limit.characters) or field.is_repeated != bool(limit and limit.items) or not _is_known(field):
            plan.problems.append(key)
            continue
        if not is_string and not field.is_repeated and field.message_type is None:
            continue
        inner = None if field.message_type is None or is_timestamp else _plan(field.message_type, limits, plans)
        plan.fields.append(_Field(field.name, limit, field.is_repeated, is_string, is_timestamp, inner))
    return plan


def _is_known(field: FieldDescriptor) -> bool:
    """Return whether fields of this type have a rule. Bytes, maps and well-known types other than Timestamp have none yet."""
    if field.message_type is None:
        return field.type != FieldDescriptor.TYPE_BYTES
    return field.message_type.full_name == _TIMESTAMP or not (
        field.message_type.GetOptions().map_entry or field.message_type.full_name.startswith("google.")
    )
