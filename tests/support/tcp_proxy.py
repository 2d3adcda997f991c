"""A TCP proxy that can stop forwarding while its connections stay open, as a network that drops every packet."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from deploy.local.ports import free_port

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_HOST = "127.0.0.1"
_READ_BYTES = 65_536


class TcpProxy:
    """Forwards to a port of this machine, for a `with` block. What arrives while it holds is forwarded later, in order."""

    def __init__(self, target_port: int) -> None:
        """Forward to `target_port`; `port` is where to connect."""
        self.port = free_port()
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._stopped = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tcp-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    def hold(self) -> None:
        """Stop forwarding; new connections are accepted and receive nothing."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def release(self) -> None:
        """Forward again."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._flowing.set()
        server = await asyncio.start_server(self._forward, _HOST, self.port)
        self._ready.set()
        await self._stopped.wait()
        server.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            try:
                await self._flowing.wait()
                upstream, downstream = await asyncio.open_connection(_HOST, self._target_port)
                try:
                    await self._pump_both((reader, downstream), (upstream, writer))
                finally:
                    downstream.close()
            finally:
                writer.close()

    async def _pump_both(self, *ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        """Forward in both directions until either end closes."""
        pumps = [asyncio.create_task(self._pump(*way)) for way in ways]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_READ_BYTES):
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()
