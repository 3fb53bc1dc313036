"""A TCP relay between a client and a server that can be told to cut, so that tests choose the byte."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType


class Relay:
    """Listens on a port of its own and forwards each connection to *url*.

    ``cut_next(up, down)`` makes the next connection end after so many bytes in either direction
    (``then_refuse``: and all later ones at once).  ``refuse()`` makes connections end at once, ``accept()`` lets them through again.
    """

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("score://").rsplit(":", 1)
        self._upstream = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"score://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self.bytes_up = self.bytes_down = 0
        self._budgets: list[tuple[int | None, int | None, bool]] = []
        self._refusing = False
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut_next(
        self, up: int | None = None, down: int | None = None, *, then_refuse: bool = False
    ) -> None:
        self._budgets.append((up, down, then_refuse))

    def refuse(self) -> None:
        self._refusing = True
        self.cut_all()

    def accept(self) -> None:
        self._refusing = False

    def cut_all(self) -> None:
        """End every connection that is open now."""
        with self._lock:
            ends, self._open = self._open, []
        for end in ends:
            _end(end)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self._refusing:
                client.close()
                continue
            try:
                server = socket.create_connection(self._upstream)
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open += [client, server]
            up, down, last = self._budgets.pop(0) if self._budgets else (None, None, False)
            for source, sink, budget, name in (
                (client, server, up, "bytes_up"),
                (server, client, down, "bytes_down"),
            ):
                threading.Thread(
                    target=self._pump, args=(source, sink, budget, name, last), daemon=True
                ).start()

    def _pump(
        self,
        source: socket.socket,
        sink: socket.socket,
        budget: int | None,
        name: str,
        then_refuse: bool,
    ) -> None:
        try:
            while budget is None or budget > 0:
                data = source.recv(65536 if budget is None else budget)
                if not data:
                    break
                # Counted first: who has received something must not find it uncounted.
                setattr(self, name, getattr(self, name) + len(data))
                sink.sendall(data)
                if budget is not None:
                    budget -= len(data)
        except OSError:
            pass
        if then_refuse:
            self._refusing = True
        _end(source)
        _end(sink)

    def __enter__(self) -> Relay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _end(self._listener)
        self.cut_all()
        self._thread.join()


def _end(end: socket.socket) -> None:
    """Shut down before closing, so that a thread that waits in ``recv`` wakes."""
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    end.close()


@contextmanager
def relayed() -> Iterator[Relay]:
    """A relay in front of an in-process server that forgets everything at the end."""
    from score.testing import server

    with server() as url, Relay(url) as relay:
        yield relay
