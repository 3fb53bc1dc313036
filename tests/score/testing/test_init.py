"""``score.testing.server``: a real server for the time of a block."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

import score
from score.testing import server


def test_clients_share_through_it() -> None:
    with server() as url, score.connect(url) as one, score.connect(url) as two:
        score.SMap[str, int](one, "m")["a"] = 1
        assert score.SMap[str, int](two, "m") == {"a": 1}


def test_each_is_a_world_of_its_own() -> None:
    with server() as first, server() as second, score.connect(first) as one:
        score.SMap[str, int](one, "m")["a"] = 1
        with score.connect(second) as two:
            assert score.SMap[str, int](two, "m") == {}


def test_a_file_is_kept_for_the_next(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/a.db"
    for value in range(2):
        with server(store) as url, score.connect(url) as client:
            m = score.SMap[str, int](client, "m")
            assert m.get("a", 0) == value
            m["a"] = value + 1


def test_it_is_gone_after_the_block_also_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), server() as url:
        raise ZeroDivisionError
    host, _, port = url.removeprefix("score://").partition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


def test_a_wrong_store_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="redis://"), server("redis://"):
        pass
