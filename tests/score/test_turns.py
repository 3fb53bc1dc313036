"""Turns, as clients take them: after a refusal, in line, given back when they are not used."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import score
from score import Client, SMap, SVec
from score_server.shell.background import BackgroundServer
from score_server.wire.limits import Limits

# Much shorter than the lease: who waits for somebody else's turn does not make it, who waits for a
# loaded machine does.
LEASE_MS = 100_000
SOON_S = 20


@pytest.fixture
def client() -> Iterator[Client]:
    with BackgroundServer(limits=Limits(turn_lease_ms=LEASE_MS)) as server:
        with score.connect(server.url) as connected:
            yield connected


@pytest.fixture
def other(client: Client) -> Iterator[Client]:
    with score.connect(client.url) as connected:
        yield connected


def test_a_transaction_that_was_refused_goes_through_in_its_turn(
    client: Client, other: Client
) -> None:
    mine, theirs = SMap[str, int](client, "m"), SMap[str, int](other, "m")
    seen = []

    def bump(t: Any) -> int:
        seen.append(t.get("n", 0))
        if len(seen) == 1:
            theirs["n"] = 10
        t["n"] = seen[-1] + 1
        return seen[-1]

    assert mine.run_transaction(bump) == 10
    assert seen == [0, 10]
    with other.deadline(SOON_S):
        theirs["m"] = 1
    assert theirs == {"n": 11, "m": 1}


@pytest.mark.parametrize("how", ["raises", "changes nothing"])
def test_a_turn_that_is_not_used_is_given_back(how: str, client: Client, other: Client) -> None:
    mine, theirs = SMap[str, int](client, "m"), SMap[str, int](other, "m")
    attempts = 0

    def change(t: Any) -> str:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            theirs["n"] = 1
            t["n"] = 2
        elif how == "raises":
            raise LookupError("no")
        return "done"

    if how == "raises":
        with pytest.raises(LookupError):
            mine.run_transaction(change)
    else:
        assert mine.run_transaction(change) == "done"
    with other.deadline(SOON_S):
        theirs["m"] = 1
    assert (attempts, theirs) == (2, {"n": 1, "m": 1})


def test_a_holder_that_stalls_costs_the_others_its_lease() -> None:
    with score.local() as client, score.connect(client.url) as other:
        mine, theirs = SMap[str, int](client, "m"), SMap[str, int](other, "m")
        client.take_turn(mine._view.replica)
        theirs["a"] = 1  # after the lease
        mine["b"] = 2  # late, and judged like any other
        assert mine == {"a": 1, "b": 2}


def test_a_turn_brings_the_view_up_to_date(client: Client, other: Client) -> None:
    mine, theirs = SMap[str, int](client, "m"), SMap[str, int](other, "m")
    theirs["a"] = 1
    client.take_turn(mine._view.replica)
    assert mine == {"a": 1}
    client.end_turn(mine._view.replica)
    with other.deadline(SOON_S):
        theirs["b"] = 1


def test_giving_back_what_is_not_joined_is_nothing(client: Client) -> None:
    mine = SMap[str, int](client, "m")
    client._drop()
    client.end_turn(mine._view.replica)
    mine["a"] = 1


def test_a_positional_change_that_is_refused_again_and_again_takes_a_turn(
    client: Client, other: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = SVec[int](client, "v"), SVec[int](other, "v")
    mine.append(0)
    theirs.sync()
    turns = 0
    submit, take_turn = client.submit, client.take_turn

    def overtaken(*args: Any) -> Any:
        if turns == 0:
            theirs.append(7)
        return submit(*args)

    def counted(replica: Any) -> None:
        nonlocal turns
        turns += 1
        take_turn(replica)

    monkeypatch.setattr(client, "submit", overtaken)
    monkeypatch.setattr(client, "take_turn", counted)
    mine[0] = 1
    assert turns == 1
    assert mine == [1, 7, 7]


def test_a_conflict_found_in_a_turn_gives_it_back(
    client: Client, other: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = SVec[int](client, "v"), SVec[int](other, "v")
    mine.append(0)
    theirs.sync()
    submit, take_turn = client.submit, client.take_turn

    def overtaken(*args: Any) -> Any:
        theirs.append(7)
        return submit(*args)

    def late(replica: Any) -> None:
        theirs[0] = 9
        take_turn(replica)

    monkeypatch.setattr(client, "submit", overtaken)
    monkeypatch.setattr(client, "take_turn", late)
    with pytest.raises(score.ConflictError):
        mine[0] = 1
    with other.deadline(SOON_S):
        theirs.append(8)
    assert theirs == [9, 7, 7, 8]


def test_many_writers_lose_nothing(client: Client) -> None:
    def count() -> None:
        with score.connect(client.url) as own:
            mine = SMap[str, int](own, "n")

            def bump(t: Any) -> None:
                t["n"] = t.get("n", 0) + 1

            for _ in range(10):
                mine.run_transaction(bump)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert SMap[str, int](client, "n") == {"n": 80}
