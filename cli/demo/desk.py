"""The people at the desk: they decide what they understand at once, what nobody understands when the duty desk holds it, and extensions."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import grpc

from cli.demo.script import OUT_OF_SCOPE
from paidan.dispatcher.v1 import dispatch_pb2
from paidan.dispatcher.v1 import dispatcher_service_pb2 as pb

if TYPE_CHECKING:
    from cli.connection import Metadata, Stubs
    from cli.demo.city import City, Entry

_PAUSE_SECONDS = 0.5


class Desk:
    """A desk that looks at its list twice a second."""

    def __init__(self, city: City, stubs: Stubs, metadata: Metadata) -> None:
        self._city = city
        self._dispatcher = stubs.dispatcher
        self._metadata = metadata
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="desk", daemon=True)
        self.decided = 0
        self.extensions = 0

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Go home."""
        self._stop.set()
        self._thread.join(15)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._look_at_triage()
                self._look_at_extensions()
            except grpc.RpcError as error:
                self._city.problems.append(f"the desk was refused: {error.code().name}: {error.details()}")
            time.sleep(_PAUSE_SECONDS)

    def _look_at_triage(self) -> None:
        response = self._dispatcher.ListTriage(pb.ListTriageRequest(page_size=200), metadata=self._metadata, timeout=10)
        for item in response.items:
            entry = self._city.entry(item.ticket_id)
            if entry is None or (not entry.request.class_code and not item.held_by_duty_desk):
                continue
            try:
                self._dispatcher.DecideTriage(self._decision(item, entry), metadata=self._metadata, timeout=10)
                self.decided += 1
            except grpc.RpcError as error:
                # The ticket may have left the list meanwhile: withdrawn, or taken by the duty desk.
                if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
                    raise

    def _decision(self, item: dispatch_pb2.TriageItem, entry: Entry) -> pb.DecideTriageRequest:
        class_code = entry.request.class_code
        if class_code == OUT_OF_SCOPE:
            decline = pb.TriageDecline(reason="不属于企业诉求受理范围", right_channel="请拨打 12345 市民热线")
            return pb.DecideTriageRequest(ticket_id=item.ticket_id, decline=decline)
        if class_code:
            unit = self._city.expert_unit(class_code, item.district_code)
        else:
            class_code, unit = "", "jjxxw"
        assign = pb.TriageAssignment(unit=unit, class_code=class_code, note="人工研判")
        return pb.DecideTriageRequest(ticket_id=item.ticket_id, assign=assign)

    def _look_at_extensions(self) -> None:
        for entry in self._city.all():
            if entry.request.play != "extension" or "extension_requested" not in entry.kinds or "extension_granted" in entry.kinds:
                continue
            dispatch = self._dispatcher.GetDispatch(pb.GetDispatchRequest(ticket_id=entry.ticket_id), metadata=self._metadata, timeout=10)
            if dispatch.dispatch.HasField("pending_extension"):
                request = pb.DecideExtensionRequest(ticket_id=entry.ticket_id, granted=True, note="同意延长两个工作日")
                self._dispatcher.DecideExtension(request, metadata=self._metadata, timeout=10)
                self.extensions += 1
