"""Finds free TCP ports on loopback that stay free while a part restarts.

Ports come from below the range out of which operating systems give outgoing connections their source port (Linux:
32768 and up, RFC 6335: 49152 and up). With a port from that range, a client that keeps trying to reach a stopped
server on its own machine sooner or later gets the server's port as its source, connects to itself, and the server
cannot bind again.
"""

import contextlib
import random
import socket
import threading

_FIRST, _END = 20_000, 32_768
_lock = threading.Lock()
_next = random.SystemRandom().randrange(_FIRST, _END)


def free_port() -> int:
    """Return a TCP port that nobody listens on at 127.0.0.1.

    The start is random per process and every call goes on from the one before: threads of one process never get the
    same port, and two processes hardly ever do.

    Raises:
        OSError: No port of the range is free.
    """
    global _next  # noqa: PLW0603 - the position is what keeps two callers apart
    with _lock:
        for _ in range(_END - _FIRST):
            port = _next
            _next = _next + 1 if _next + 1 < _END else _FIRST
            with contextlib.suppress(OSError), socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
                return port
    message = f"no free TCP port from {_FIRST} to {_END - 1}"
    raise OSError(message)


def free_ports(count: int) -> list[int]:
    """Return distinct free ports, as ``free_port`` finds them."""
    return [free_port() for _ in range(count)]
