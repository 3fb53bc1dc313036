"""A server inside this process, for tests and notebooks."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path

from .client import DEFAULT_TIMEOUT_S, Client


def local(path: str | PathLike[str] | None = None, *, timeout: float = DEFAULT_TIMEOUT_S) -> Client:
    """A client on a server of its own, in a thread of this process; both end with ``close()``.

    Args:
        path: an SQLite file that keeps what is shared; None forgets everything at the end.
        timeout: as for ``score.connect``.

    Other processes can join: ``client.url`` says where.  ``import score`` does not load a server,
    only this call does.
    """
    from score_server.shell.background import BackgroundServer

    store = "memory:" if path is None else f"sqlite:///{Path(fspath(path)).absolute()}"
    server = BackgroundServer(store)
    try:
        client = Client(server.url, timeout, None, 0)
    except BaseException:
        server.close()
        raise
    client._on_close = server.close
    return client
