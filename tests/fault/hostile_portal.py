"""A portal that misbehaves at full speed: `python -m tests.fault.hostile_portal <address> <authorization> <ticket>`, until it is killed.

A separate process, so that it does not use CPU time of the load client or of the tap.
Twice a second it prints the answers so far as a line of JSON: act → gRPC code → number.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import uuid
from collections import Counter, defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import grpc

from paidan.intake.v1 import intake_service_pb2 as pb
from paidan.intake.v1.intake_service_pb2_grpc import IntakeServiceStub
from tests.support.requests import submission

if TYPE_CHECKING:
    from cli.connection import Metadata

_READERS = 200
_READERS_A_CHANNEL = 50
_SENDERS = 4
_GARBAGE = b"\xff" * 1000
_GIANT_CHARACTERS = 1_000_000 // 3
_TIMEOUT = 10
_PAUSE_SECONDS = 0.5
_METHOD = "/paidan.intake.v1.IntakeService/SubmitTicket"
_OPTIONS = [("grpc.use_local_subchannel_pool", 1)]
_SMALL_WINDOW = [*_OPTIONS, ("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024)]
"""Small buffers: by default a client buffers far more than its reader asks for, and the server never has to wait."""
_UNREAD_SECONDS = 12
"""Longer than the server waits for a reader."""


class HostilePortal:
    """Abusive calls that a portal can make; each method runs until the process ends."""

    def __init__(self, address: str, metadata: Metadata) -> None:
        self._address = address
        self._metadata = metadata
        self._lock = threading.Lock()
        self._answers: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def answers(self) -> str:
        """Return the responses so far, as JSON."""
        with self._lock:
            return json.dumps(self._answers)

    def watch_without_reading(self, ticket_id: str) -> None:
        """Open 200 streams of a ticket with a long history, leave them unread until the server should have ended them, and repeat."""
        channels = [grpc.insecure_channel(self._address, options=_SMALL_WINDOW) for _ in range(_READERS // _READERS_A_CHANNEL)]
        stubs = [IntakeServiceStub(channels[n % len(channels)]) for n in range(_READERS)]
        request = pb.WatchTicketRequest(ticket_id=ticket_id)
        while True:
            streams = [stub.WatchTicket(request, metadata=self._metadata, timeout=_UNREAD_SECONDS + _TIMEOUT) for stub in stubs]
            time.sleep(_UNREAD_SECONDS)
            for stream in streams:
                self._drain(stream)

    def send(self, act: str, payload: bytes) -> None:
        """Send bytes as SubmitTicket, one call after the other."""
        channel = grpc.insecure_channel(self._address, options=_OPTIONS)
        call = channel.unary_unary(_METHOD, request_serializer=lambda data: data, response_deserializer=lambda data: data)
        while True:
            try:
                call(payload, metadata=self._metadata, timeout=_TIMEOUT)
            except grpc.RpcError as error:
                self._note(act, error.code())
            else:
                self._note(act, grpc.StatusCode.OK)

    def _drain(self, stream: Any) -> None:
        """Read a stream to its end; the status arrives only then."""
        with suppress(grpc.RpcError):
            for _ in stream:
                pass
        self._note("unread streams", stream.code())

    def _note(self, act: str, code: grpc.StatusCode) -> None:
        with self._lock:
            self._answers[act][code.name] += 1


def main() -> None:
    """Do it all at once."""
    address, authorization, ticket_id = sys.argv[1:]
    portal = HostilePortal(address, (("authorization", authorization),))
    giant = submission("水" * _GIANT_CHARACTERS, uuid.uuid4().hex).SerializeToString()
    acts = [threading.Thread(target=portal.watch_without_reading, args=(ticket_id,), daemon=True)]
    for _ in range(_SENDERS):
        acts.append(threading.Thread(target=portal.send, args=("garbage", _GARBAGE), daemon=True))
        acts.append(threading.Thread(target=portal.send, args=("giants", giant), daemon=True))
    for act in acts:
        act.start()
    while True:
        time.sleep(_PAUSE_SECONDS)
        sys.stdout.write(f"{portal.answers()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
