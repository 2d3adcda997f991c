"""A portal that misbehaves at full speed: `python -m tests.fault.hostile_portal <address> <authorization> <ticket>`, until it is killed.

A process of its own, so that what it burns is not the time of the load client or of the tap.
"""

from __future__ import annotations

import sys
import threading
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc

from paidan.intake.v1 import intake_service_pb2 as pb
from paidan.intake.v1.intake_service_pb2_grpc import IntakeServiceStub
from tests.support.requests import submission

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.connection import Metadata

_READERS = 200
_READERS_A_CHANNEL = 50
_GARBAGE = b"\xff" * 1000
_GIANT_CHARACTERS = 1_000_000
_TIMEOUT = 10
_METHOD = "/paidan.intake.v1.IntakeService/SubmitTicket"


def watch_and_never_read(address: str, metadata: Metadata, ticket_id: str) -> None:
    """Open 200 streams of a ticket with a long history, read one message of each, and open those again that the server ends."""
    channels = [
        grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) for _ in range(_READERS // _READERS_A_CHANNEL)
    ]
    stubs = [IntakeServiceStub(channels[n % len(channels)]) for n in range(_READERS)]

    def watch(stub: IntakeServiceStub) -> grpc.Call:
        stream = stub.WatchTicket(pb.WatchTicketRequest(ticket_id=ticket_id), metadata=metadata)
        with suppress(grpc.RpcError):
            next(stream)
        return stream

    streams = [watch(stub) for stub in stubs]
    while True:
        streams = [watch(stub) if not stream.is_active() else stream for stub, stream in zip(stubs, streams, strict=True)]
        time.sleep(0.5)


def send_for_ever(address: str, metadata: Metadata, payload: Callable[[], bytes]) -> None:
    """Send bytes as SubmitTicket, one call after the other."""
    channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
    call = channel.unary_unary(_METHOD, request_serializer=lambda data: data, response_deserializer=lambda data: data)
    while True:
        with suppress(grpc.RpcError):
            call(payload(), metadata=metadata, timeout=_TIMEOUT)


def _giant() -> bytes:
    return submission("水" * (_GIANT_CHARACTERS // 3), uuid.uuid4().hex).SerializeToString()


def main() -> None:
    """Do it all at once."""
    address, authorization, ticket_id = sys.argv[1:]
    metadata = (("authorization", authorization),)
    acts = [
        threading.Thread(target=watch_and_never_read, args=(address, metadata, ticket_id), daemon=True),
        threading.Thread(target=send_for_ever, args=(address, metadata, lambda: _GARBAGE), daemon=True),
        threading.Thread(target=send_for_ever, args=(address, metadata, _giant), daemon=True),
    ]
    for act in acts:
        act.start()
    for act in acts:
        act.join()


if __name__ == "__main__":
    main()
