"""A proxy that goes silent: it takes and gives no more bytes, and closes nothing (a cable that was pulled)."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType


class Blackhole:
    """Forwards each connection to *url* until ``swallow()``; what was open then stays open and dead."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("score://").rsplit(":", 1)
        self._upstream = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"score://127.0.0.1:{self._listener.getsockname()[1]}"
        self._dead: set[str] = set()  # directions in which nothing passes: "up", "down"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def swallow(self, *directions: str) -> None:
        """From now on nothing passes in *directions* ("up": to the server, "down"); none: all passes again,
        on new connections.  What was swallowed is gone."""
        self._dead = set(directions)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._upstream)
                self._open += [client, server]
                lost: set[str] = set()
                for source, sink, way in ((client, server, "up"), (server, client, "down")):
                    thread = threading.Thread(
                        target=self._pump, args=(source, sink, way, lost), daemon=True
                    )
                    self._threads.append(thread)
                    thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, way: str, lost: set[str]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if way in self._dead or way in lost:
                    lost.add(way)  # a hole in a stream is never mended
                else:
                    sink.sendall(data)
        # The other end learns nothing of this one's end while it is in the hole.
        if way not in self._dead and way not in lost:
            _end(sink)

    def __enter__(self) -> Blackhole:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for end in (self._listener, *self._open):
            _end(end)
        for thread in self._threads:
            thread.join()


def _end(end: socket.socket) -> None:
    """Shut down before closing, so that a thread that waits in ``recv`` wakes."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
