"""Watching and waiting: every change once, in order, each with its old and new value."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import score
from score import ABSENT, Client, SMap, SVec
from score.replica import WATCH_CHANGES_MAX

from .relay import Relay, relayed


@pytest.fixture
def client() -> Iterator[Client]:
    with score.local() as connected:
        yield connected


@pytest.fixture
def relay() -> Iterator[Relay]:
    with relayed() as running:
        yield running


def told(change: score.Change) -> tuple[object, ...]:
    return (change.kind, change.key, change.old, change.new)


def test_a_watch_tells_what_came_after_the_view_and_moves_it(client: Client) -> None:
    mine, theirs = SMap[str, int](client, "m"), SMap[str, int](client, "m")
    mine["before"] = 1
    with theirs.watch(timeout=10) as watch:
        mine["a"] = 1
        mine["a"] = 2
        del mine["a"]
        assert "before" not in theirs
        found = [told(next(watch)) for _ in range(4)]
        assert found == [
            ("put", "before", ABSENT, 1),
            ("put", "a", ABSENT, 1),
            ("put", "a", 1, 2),
            ("delete", "a", 2, ABSENT),
        ]
        assert theirs == {"before": 1}


def test_changing_inside_the_loop_loses_nothing(client: Client) -> None:
    mine, theirs = SMap[str, int](client, "m"), SMap[str, int](client, "m")
    keys = []
    with mine.watch(timeout=10) as watch:
        theirs["0"] = 0
        for change in watch:
            keys.append(change.key)
            if len(keys) == 6:
                break
            if len(keys) <= 3:
                theirs[f"theirs {len(keys)}"] = 0
                mine[f"mine {len(keys)}"] = 0
    assert keys == ["0", "theirs 1", "mine 1", "theirs 2", "mine 2", "theirs 3"]


def test_a_change_names_its_author_and_its_container(client: Client) -> None:
    lists = SMap[str, list[int]](client, "lists")
    with lists.watch(timeout=10) as watch:
        with lists.batch() as batch:
            batch["a"] = [1]
            batch["a"].append(2)
        first, second = next(watch), next(watch)
    assert first.node is lists
    assert second.node is lists["a"]
    assert first.position == second.position == 1
    assert (first.new, told(second)) == ([1], ("insert", 1, ABSENT, 2))
    assert first.label == client.name
    assert first.time_ms > 1_700_000_000_000


def test_a_loop_ends_after_a_quiet_time_and_a_new_one_goes_on(client: Client) -> None:
    mine = SMap[str, int](client, "m")
    watch = mine.watch(timeout=0.05)
    assert list(watch) == []
    SMap[str, int](client, "m")["a"] = 1
    watch._timeout = 10
    assert next(iter(watch)).key == "a"
    watch.close()
    watch.close()


def test_a_watch_survives_lost_connections(relay: Relay) -> None:
    with score.connect(relay.url) as client:
        mine, theirs = SVec[int](client, "v"), SVec[int](client, "v")
        with mine.watch(timeout=20) as watch:
            for i in range(5):
                theirs.append(i)
                relay.cut_all()
                assert told(next(watch)) == ("insert", i, ABSENT, i)
        assert mine == theirs


def test_a_watch_takes_more_than_its_window(client: Client) -> None:
    mine, theirs = SVec[bytes](client, "v"), SVec[bytes](client, "v")
    with mine.watch(timeout=20) as watch:
        for _ in range(8):
            theirs.append(bytes(512 * 1024))
        assert len([next(watch) for _ in range(8)]) == 8


def test_an_unread_watch_overflows_and_says_so(client: Client) -> None:
    v = SVec[int](client, "v")
    with v.watch(timeout=0.05) as watch:
        half = list(range(WATCH_CHANGES_MAX // 2 + 1))
        v.extend(half)
        v.extend(half)
        v.append(1)
        for _ in half:
            next(watch)
        with pytest.raises(score.WatchOverflowError, match="new watch"):
            next(watch)


def test_a_rebuilt_view_tells_nothing_twice(client: Client) -> None:
    v = SVec[int](client, "v")
    with v.watch(timeout=0.1) as watch:
        v.append(1)
        assert next(watch).new == 1
        v.append(2)
        v._tree.interrupted = True
        v.append(3)
        assert [change.new for change in watch] == [2, 3]
        v._tree.interrupted = True
        SVec[int](client, "v").append(4)
        watch._timeout = 10
        assert next(watch).new == 4
        assert v == [1, 2, 3, 4]


def test_wait_for_returns_what_it_waited_for(client: Client) -> None:
    mine = SMap[str, int](client, "m")
    url = client.url

    def later() -> None:
        with score.connect(url) as other:
            theirs = SMap[str, int](other, "m")
            for n in range(1, 6):
                theirs["n"] = n

    thread = threading.Thread(target=later)
    thread.start()
    assert mine.wait_for(lambda: mine.get("n", 0) >= 5 and "enough", timeout=20) == "enough"
    thread.join()
    assert mine == {"n": 5}


def test_wait_for_raises_when_it_does_not_come_about(client: Client) -> None:
    with pytest.raises(score.DeadlineExceeded, match="did not come about") as caught:
        SMap(client, "m").wait_for(lambda: False, timeout=0.05)
    assert isinstance(caught.value, TimeoutError)


def test_a_damaged_predicate_closes_what_was_opened(client: Client) -> None:
    m = SMap[str, int](client, "m")
    with pytest.raises(ZeroDivisionError):
        m.wait_for(lambda: 1 // 0, timeout=1)
    m["a"] = 1


def test_a_watch_on_a_closed_client_says_so(client: Client) -> None:
    m = SMap[str, int](client, "m")
    watch = m.watch(timeout=1)
    client.close()
    with pytest.raises(score.ClosedError):
        next(watch)
    watch.close()


def test_a_closed_watch_ends_at_once(client: Client) -> None:
    m = SMap[str, int](client, "m")
    watch = m.watch()
    m["a"] = 1
    watch.close()
    assert [change.key for change in watch] == ["a"]  # what the view held already


def test_a_deadline_around_them_bounds_watches_and_waits(client: Client) -> None:
    m = SMap[str, int](client, "m")
    with client.deadline(0.05):
        assert list(m.watch()) == []
    with client.deadline(0.05), pytest.raises(score.DeadlineExceeded):
        m.wait_for(lambda: False)


def test_a_change_that_is_here_already_is_told_without_a_deadline(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = SMap[str, int](client, "m")
    with mine.watch(timeout=10) as watch:
        mine.update(a=1, b=2)
        monkeypatch.setattr(Client, "deadline_within", None)
        assert [told(next(watch))[1] for _ in range(2)] == ["a", "b"]
