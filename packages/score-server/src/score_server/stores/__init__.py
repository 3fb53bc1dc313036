"""Stores: where a server keeps its groups.  ``base.py`` has the laws."""

from __future__ import annotations

from .base import LogStore, StoreUnusable

__all__ = ["open_store"]


def open_store(url: str) -> LogStore:
    """Open ``memory:``, ``sqlite:///relative.db`` or ``sqlite:////absolute.db``.

    Raises:
        StoreUnusable: not such a url, or the store cannot be opened; the text says why.
    """
    # Imported here: the core imports this package for its records, and must not load SQLite.
    if url == "memory:":
        from .memory import MemoryStore

        return MemoryStore()
    path = url.removeprefix("sqlite:///")
    if path and path != url:
        from .sqlite import SqliteStore

        return SqliteStore(path)
    raise StoreUnusable(
        f"store {url!r} is not known; give memory:, sqlite:///relative.db or sqlite:////absolute.db"
    )
