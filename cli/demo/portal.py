"""The portal: submits the script's requests over gRPC, watches every ticket, answers, withdraws, rates, reopens."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import grpc

from cli.demo.city import City, Entry
from paidan.intake.v1 import intake_service_pb2 as pb
from paidan.intake.v1 import ticket_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.connection import Metadata, Stubs
    from cli.demo.script import ScriptedRequest

_TIMEOUT_SECONDS = 15
_FINAL = frozenset({ticket_pb2.TICKET_STATE_CLOSED, ticket_pb2.TICKET_STATE_WITHDRAWN, ticket_pb2.TICKET_STATE_DECLINED})


class Portal:
    """One portal on behalf of all enterprises of the script."""

    def __init__(self, city: City, stubs: Stubs, metadata: Metadata) -> None:
        self._city = city
        self._intake = stubs.intake
        self._metadata = metadata
        self._streams: list[grpc.Call] = []
        self._threads: list[threading.Thread] = []
        self._stopping = False

    def submit(self, requests: Sequence[ScriptedRequest]) -> None:
        """Submit requests one after another and watch what becomes of them."""
        for request in requests:
            message = _message(request)
            sent = time.time()
            try:
                ticket = self._submit(message)
            except grpc.RpcError as error:
                self._refused(request, error)
                continue
            entry = Entry(request, ticket.ticket_id, ticket.number, sent)
            self._city.acknowledge(entry)
            self._watch(entry)
            if request.play == "twice":
                self._repeat(message, ticket.ticket_id)

    def stop(self) -> None:
        """End the watches."""
        self._stopping = True
        for stream in self._streams:
            stream.cancel()
        for thread in self._threads:
            thread.join(5)

    def _submit(self, message: pb.SubmitTicketRequest) -> ticket_pb2.Ticket:
        ticket: ticket_pb2.Ticket = self._intake.SubmitTicket(message, metadata=self._metadata, timeout=_TIMEOUT_SECONDS).ticket
        return ticket

    def _refused(self, request: ScriptedRequest, error: grpc.RpcError) -> None:
        if request.play == "malformed" and error.code() is grpc.StatusCode.INVALID_ARGUMENT:
            self._city.malformed.append(f"#{request.number}: {error.details()}")
        else:
            self._city.problems.append(f"#{request.number} was refused: {error.code().name}: {error.details()}")

    def _repeat(self, message: pb.SubmitTicketRequest, ticket_id: str) -> None:
        again = self._intake.SubmitTicket(message, metadata=self._metadata, timeout=_TIMEOUT_SECONDS)
        if again.duplicate and again.ticket.ticket_id == ticket_id:
            self._city.repeated += 1
        else:
            self._city.problems.append(f"submitting {ticket_id} twice made another ticket")

    def _watch(self, entry: Entry) -> None:
        thread = threading.Thread(target=self._follow, args=(entry,), name=f"watch-{entry.request.number}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _follow(self, entry: Entry) -> None:
        version = 0
        while not self._stopping:
            request = pb.WatchTicketRequest(ticket_id=entry.ticket_id, after_version=version)
            stream = self._intake.WatchTicket(request, metadata=self._metadata)
            self._streams.append(stream)
            try:
                for response in stream:
                    change = response.change
                    if change.version != version + 1:
                        self._city.problems.append(f"{entry.number}: version {change.version} came after {version}")
                    version = change.version
                    entry.state = change.state
                    entry.kinds.append(change.kind)
                    self._react(entry, change)
            except grpc.RpcError as error:
                if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED}:
                    continue
                if error.code() is not grpc.StatusCode.CANCELLED:
                    self._city.problems.append(f"{entry.number}: {error.code().name}: {error.details()}")
            return

    def _react(self, entry: Entry, change: ticket_pb2.TicketChange) -> None:
        play = entry.request.play
        if change.kind == "supplement_requested":
            request = pb.SupplementTicketRequest(
                ticket_id=entry.ticket_id,
                request_id=f"{_request_id(entry.request)}-supplement",
                text="产权证和总平面图已上传，请查收",
                attachment_refs=["portal://attachments/1", "portal://attachments/2"],
            )
            self._intake.SupplementTicket(request, metadata=self._metadata, timeout=_TIMEOUT_SECONDS)
        elif play == "withdraw" and change.kind == "progress":
            request_ = pb.WithdrawTicketRequest(ticket_id=entry.ticket_id, reason="已自行解决")
            self._intake.WithdrawTicket(request_, metadata=self._metadata, timeout=_TIMEOUT_SECONDS)
        elif play == "reopen" and change.kind == "resolved" and "reopened" not in entry.kinds:
            reopen = pb.ReopenTicketRequest(ticket_id=entry.ticket_id, reason="疏通后第二天又堵了")
            self._intake.ReopenTicket(reopen, metadata=self._metadata, timeout=_TIMEOUT_SECONDS)
        elif change.kind == "resolved":
            rate = pb.RateTicketRequest(
                ticket_id=entry.ticket_id,
                solved=ticket_pb2.SOLVED_YES,
                score=5 - entry.request.number % 3,
                comment="很快",
            )
            self._intake.RateTicket(rate, metadata=self._metadata, timeout=_TIMEOUT_SECONDS)


def is_final(state: int) -> bool:
    """Tell whether nothing more will happen to a ticket in this state."""
    return state in _FINAL


def _request_id(request: ScriptedRequest) -> str:
    return f"demo-{request.number:03d}"


def _message(request: ScriptedRequest) -> pb.SubmitTicketRequest:
    return pb.SubmitTicketRequest(
        request_id=_request_id(request),
        enterprise=ticket_pb2.Enterprise(uscc=request.enterprise.uscc, name=request.enterprise.name),
        contact=ticket_pb2.Contact(name="王经理", phone="023-60000000"),
        text=request.text,
        channel=ticket_pb2.Channel.Value(f"CHANNEL_{request.channel.upper()}"),
        district_code=request.district,
        confidential=request.play == "confidential",
    )
