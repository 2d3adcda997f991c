"""A language model's endpoint over real HTTP that behaves, or misbehaves, as it is told."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Behaviour = "Callable[[Exchange], None]"


class Exchange:
    """One request, and the means to answer it well or badly."""

    def __init__(self, handler: BaseHTTPRequestHandler, body: dict[str, Any], ended: threading.Event) -> None:
        self.path = handler.path
        self.headers = handler.headers
        self.body = body
        self._handler = handler
        self._ended = ended

    @property
    def text(self) -> str:
        """The request text that is asked about."""
        return str(json.loads(self.body["messages"][1]["content"])["request_text"])

    def send(self, body: bytes, *, status: int = 200, **headers: str) -> None:
        self._handler.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.end_headers()
        self._handler.wfile.write(body)

    def say(self, content: object) -> None:
        """Answer as the protocol has it, with `content` as what the language model said."""
        said = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        message = {"role": "assistant", "content": said}
        answer = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": self.body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 700, "completion_tokens": 40, "total_tokens": 740},
        }
        self.send(json.dumps(answer).encode())

    def drip(self, head: bytes) -> None:
        """Send a byte now and then without end, after `head`."""
        self._handler.wfile.write(head)
        while not self._ended.wait(0.05):
            self._handler.wfile.write(b" ")
            self._handler.wfile.flush()

    def keep_waiting(self, seconds: float) -> None:
        self._ended.wait(seconds)


class Endpoint:
    """What was asked, and how it is answered."""

    def __init__(self) -> None:
        self.behave: Callable[[Exchange], None] = lambda exchange: exchange.say({})
        self.exchanges: list[Exchange] = []
        self.most_at_once = 0
        self.base_url = ""
        self._at_once = 0
        self._lock = threading.Lock()

    def take(self, exchange: Exchange) -> None:
        with self._lock:
            self.exchanges.append(exchange)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            self.behave(exchange)
        finally:
            with self._lock:
                self._at_once -= 1


@contextmanager
def serving() -> Iterator[Endpoint]:
    """Serve an endpoint on a free port until the block ends."""
    endpoint = Endpoint()
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                endpoint.take(Exchange(self, body, ended))
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        do_GET = do_POST  # noqa: N815 - where a redirect would lead

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    endpoint.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield endpoint
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()
