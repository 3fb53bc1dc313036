"""Which url opens which store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from score_server.stores import open_store
from score_server.stores.base import StoreUnusable
from score_server.stores.memory import MemoryStore
from score_server.stores.sqlite import SqliteStore


def test_memory() -> None:
    assert isinstance(open_store("memory:"), MemoryStore)


def test_a_relative_path_is_relative_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///shared.db")
    assert isinstance(store, SqliteStore)
    store.close()
    assert os.path.exists(tmp_path / "shared.db")


def test_an_absolute_path_has_four_slashes(tmp_path: Path) -> None:
    open_store(f"sqlite:///{tmp_path}/abs.db").close()
    assert os.path.exists(tmp_path / "abs.db")


@pytest.mark.parametrize(
    "url", ["", "memory", "sqlite:", "sqlite:///", "sqlite://x.db", "redis://h/0"]
)
def test_anything_else_is_refused_with_what_would_do(url: str) -> None:
    with pytest.raises(StoreUnusable, match=r"give memory:, sqlite:///relative\.db or"):
        open_store(url)
