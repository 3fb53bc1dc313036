"""A server in a thread of this process, for tests and notebooks."""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import threading
from collections.abc import Callable
from types import TracebackType

import trio

from ..config import Address, check_store
from ..stores import open_store
from ..wire.limits import Limits
from .committer import Committer, open_committer
from .server import Server


class BackgroundServer:
    """Serves *store* (``memory:`` or ``sqlite:///path``) on a free port of 127.0.0.1.

    It is ready when the constructor returns; ``url`` is where.  ``close`` stops it in order; at
    the end of the process that happens by itself.  In a child made by ``fork`` it does not
    run, and ``close`` does nothing.

    Raises:
        ConfigError: *store* has not the form of a store's URL.
        StoreUnusable, StartError: the store or the network is not usable.
    """

    def __init__(self, store: str = "memory:", *, limits: Limits | None = None) -> None:
        check_store(store, "store")
        self._pid = os.getpid()
        started: queue.SimpleQueue[_Running | Exception] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=_run, args=(store, limits, started), name="score-server", daemon=True
        )
        self._thread.start()
        answer = started.get()
        if isinstance(answer, Exception):
            self._thread.join()
            raise answer
        self.url = answer.url
        self._stop = answer.stop
        atexit.register(self.close)

    def close(self) -> None:
        """Stop: everybody is told, nothing acknowledged is lost.  Idempotent; blocks."""
        if os.getpid() != self._pid:
            return
        atexit.unregister(self.close)
        self._stop()
        self._thread.join()

    def __enter__(self) -> BackgroundServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Running:
    """A server that is ready; ``stop`` may be called from any thread, at any time, repeatedly."""

    def __init__(self, url: str, server: Server) -> None:
        self.url = url
        self._server = server
        self._token = trio.lowlevel.current_trio_token()

    def stop(self) -> None:
        with contextlib.suppress(trio.RunFinishedError):  # it has stopped already
            self._token.run_sync_soon(self._server.stop.set)


def _run(
    store: str, limits: Limits | None, started: queue.SimpleQueue[_Running | Exception]
) -> None:
    try:
        committer = open_committer(open_store, store)
        try:
            trio.run(_serve, committer, limits, started.put)
        finally:
            committer.close()
    except Exception as error:
        started.put(error)


async def _serve(
    committer: Committer, limits: Limits | None, ready: Callable[[_Running], None]
) -> None:
    server = Server(committer, limits)
    (url,) = await server.listen([Address("127.0.0.1", 0)])
    ready(_Running(url, server))
    await server.serve()  # if it fails, that is logged, and clients see a server that is gone
