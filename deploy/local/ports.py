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
from collections.abc import Iterable

import psutil

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


def taken_ports(ports: Iterable[int]) -> dict[int, str]:
    """Return the ports at 127.0.0.1 that another process listens on.

    Returns:
        Port → its holder, as ``process 4711 (java)``; ``another process`` where the system does not name it.
    """
    taken = [port for port in ports if _is_taken(port)]
    return {port: _holder(port) for port in taken}


def listens_on(pid: int, ports: Iterable[int]) -> bool:
    """Return whether a process listens on all these TCP ports."""
    try:
        connections = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.Error:
        return False
    return set(ports) <= {connection.laddr.port for connection in connections if connection.status == psutil.CONN_LISTEN}


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        # Closed connections of an earlier run do not count as a listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return True
    return False


def _holder(port: int) -> str:
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid is not None:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return "another process"
