"""For tests of programs that use score: a real server inside the process.

    with score.testing.server() as url, score.connect(url) as client:
        ...

It is the server that ``score-server`` runs, in a thread, on a free port of 127.0.0.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from score_server.shell.background import BackgroundServer

__all__ = ["server"]


@contextmanager
def server(store: str = "memory:") -> Iterator[str]:
    """A server for the time of the ``with`` block; yields its URL.

    *store* as in ``score-server --store``: ``memory:`` forgets everything at the end of
    the block, ``sqlite:///path`` keeps it for the next server on the same file.

    Raises:
        ValueError: *store* is no URL of a store.
        OSError, score_server.stores.base.StoreError: it cannot be used.
    """
    with BackgroundServer(store) as running:
        yield running.url
