"""Connecting, deadlines, and the promise of exactly once, through a real server and a relay that cuts."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import socket
import threading
from collections.abc import Iterator

import pytest

import score
from score import SMap, SVec
from score.client import Client
from score.conversation import Conversation
from score.replica import Replica
from score.session import Session
from score.testing import server
from score.tools.compaction import compact
from score_server.wire import codec
from score_server.wire import messages as wire

from .relay import Relay, relayed


@pytest.fixture
def relay() -> Iterator[Relay]:
    with relayed() as running:
        yield running


@pytest.fixture
def client() -> Iterator[Client]:
    with score.local() as connected:
        yield connected


# ---------------------------------------------------------------- connecting


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def test_a_refused_first_connection_fails_at_once_and_says_how_to_start_a_server() -> None:
    url = f"score://127.0.0.1:{free_port()}"
    with pytest.raises(score.ConnectionFailed, match="score-server --listen") as caught:
        score.connect(url)
    assert isinstance(caught.value, ConnectionError)


def test_wait_keeps_trying(relay: Relay) -> None:
    relay.refuse()
    connected: list[Client] = []
    thread = threading.Thread(
        target=lambda: connected.append(score.connect(relay.url, wait=30, name="patient"))
    )
    thread.start()
    while relay.connections < 2:
        os.sched_yield()
    relay.accept()
    thread.join()
    assert connected[0].name == "patient"
    connected[0].close()


def test_wait_ends_with_the_deadline_and_the_reason() -> None:
    with pytest.raises(score.DeadlineExceeded, match="is a score-server running"):
        score.connect(f"score://127.0.0.1:{free_port()}", wait=0.05)


def test_what_is_no_score_server_is_named(relay: Relay) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            accepted, _ = listener.accept()
            accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            accepted.recv(1000)
            accepted.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(score.ProtocolError, match="no score-server"):
            score.connect(f"score://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()


def test_ping_takes_a_moment_and_groups_lists_what_has_changes(client: Client) -> None:
    assert 0 < client.ping() < 30
    assert client.groups() == []
    SMap[str, int](client, "b")["x"] = 1
    stock = SMap[str, int](client, "a")
    stock["x"] = 1
    SMap[str, int](client, "nothing in it")
    found = client.groups()
    assert [(group.name, group.position) for group in found] == [("a", stock.position), ("b", 1)]


def test_a_client_says_who_and_where_it_is_and_is_not_pickled(client: Client) -> None:
    assert client.url in repr(client)
    assert client.name == f"pid {os.getpid()}"
    with pytest.raises(TypeError, match="pass its url"):
        pickle.dumps(client)


@pytest.mark.parametrize("name", ["x" * 256, 7, "é" * 128, "\udc80"])
def test_a_label_is_text_of_up_to_255_bytes(name: object) -> None:
    with pytest.raises(score.InvalidNameError, match="label"):
        score.connect(name=name)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [float("inf"), 1e12, 10**400])
def test_a_timeout_beyond_all_bounds_is_none(client: Client, seconds: float) -> None:
    with score.connect(client.url, timeout=seconds, wait=seconds) as patient:
        assert patient.timeout is None
        stock = SMap[str, int](patient, "stock")
        with patient.deadline(seconds):
            stock["x"] = 1
        assert stock.wait_for(lambda: stock["x"], timeout=seconds)
        with pytest.raises(TypeError, match="not nan"), patient.deadline(float("nan")):
            pass


def test_after_close_reads_go_on_and_calls_say_so(client: Client) -> None:
    stock = SMap[str, int](client, "stock")
    stock["x"] = 1
    client.close()
    client.close()
    assert "closed" in repr(client)
    assert stock == {"x": 1}
    with pytest.raises(score.ClosedError, match="closed"):
        stock["x"] = 2
    with pytest.raises(score.ClosedError, match=r"score\.connect"):
        client.ping()


def test_closing_says_goodbye_only_once_nothing_is_pending(client: Client) -> None:
    session = Session()
    session.id = bytes(16)
    session.name("g", 0, wire.INTENT, b"").sent = True
    client._session = session
    client.close()


def test_closing_survives_a_dead_connection(relay: Relay) -> None:
    client = score.connect(relay.url)
    client._link.close()  # type: ignore[union-attr]
    client.close()


# ---------------------------------------------------------------- exactly once


def test_a_connection_cut_at_any_byte_costs_nothing_and_counts_once(relay: Relay) -> None:
    with score.connect(relay.url) as first:
        before = relay.bytes_up, relay.bytes_down
        SMap[str, int](first, "counter").increment("n")
    # Everything that the whole exchange took, from Hello on, and some more.
    spans = (relay.bytes_up, relay.bytes_down)
    assert before < spans
    counted = 1
    for direction, span in enumerate(spans):
        for cut in range(0, span + 8, 3):
            relay.cut_next(*((cut, None) if direction == 0 else (None, cut)))
            with score.connect(relay.url, wait=30, timeout=30) as client:
                counter = SMap[str, int](client, "counter")
                counted += 1
                assert counter.increment("n") == counted
    with score.connect(relay.url) as last:
        assert SMap[str, int](last, "counter") == {"n": counted}


def test_a_strict_change_is_not_made_where_joining_has_loaded_a_later_state(
    client: Client,
) -> None:
    mine = SVec[str](client, "list")
    mine.append("a")
    SMap[str, int](client, "stock")["settles"] = 1
    with client.another() as other, client.another() as checker:
        theirs = SVec[str](other, "list")
        theirs.append("b")
        theirs[0] = "c"
        trimmed = compact(other, checker, "list")
        assert trimmed is not None
        assert trimmed.floor > mine.position  # mine goes on from the snapshot
        with pytest.raises(score.ConflictError):
            mine[0] = "mine"
        assert mine == ["c", "b"]


@pytest.mark.parametrize("cause", [score.GroupDeletedError, score.GroupDamagedError])
def test_a_change_whose_entry_will_not_come_has_an_unknown_outcome_for_the_reason_why(
    client: Client, monkeypatch: pytest.MonkeyPatch, cause: type[score.ScoreError]
) -> None:
    stock = SMap[str, int](client, "stock")
    gone = cause("gone")
    monkeypatch.setattr(Replica, "receive_all", lambda _replica, _entries: None)
    monkeypatch.setattr(Conversation, "error_on", lambda _talk, _channel: gone)
    with pytest.raises(score.OutcomeUnknown) as caught:
        stock["x"] = 1
    assert caught.value.__cause__ is gone
    assert client.outcome(caught.value.token) == ("taken", 1)


def test_reconnecting_is_told_at_warning(relay: Relay, caplog: pytest.LogCaptureFixture) -> None:
    with score.connect(relay.url) as client, caplog.at_level(logging.WARNING, "score"):
        stock = SMap[str, int](client, "stock")
        relay.cut_all()
        stock["x"] = 1
    assert "connecting again" in caplog.text


def one_change(relay: Relay, group: str) -> None:
    with score.connect(relay.url, name="ada") as client:
        SMap[str, int](client, group)["x"] = 1


def bytes_of_one_change(relay: Relay) -> tuple[int, int]:
    """What ``one_change`` sends and receives until it has its answer."""
    before = relay.bytes_up, relay.bytes_down
    one_change(relay, "rehearsal")
    goodbye = 4 + len(b"\x81\x82\x0b\x01")
    return relay.bytes_up - before[0] - goodbye, relay.bytes_down - before[1]


@pytest.mark.parametrize(("direction", "verdict"), [("down", "taken"), ("up", "not taken")])
def test_an_unknown_outcome_is_settled_once_and_for_all(
    direction: str, verdict: str, relay: Relay
) -> None:
    up, down = bytes_of_one_change(relay)
    if direction == "up":  # the last byte of the submission never arrives
        relay.cut_next(up=up - 1, then_refuse=True)
    else:  # the last byte of its answer never arrives
        relay.cut_next(down=down - 1, then_refuse=True)
    client = score.connect(relay.url, name="ada")
    stock = SMap[str, int](client, "rehearsed")
    with client.deadline(2), pytest.raises(score.OutcomeUnknown, match="outcome") as caught:
        stock["x"] = 1
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.group == "rehearsed"
    with client.deadline(0.05), pytest.raises(score.DeadlineExceeded):
        stock.sync()
    relay.accept()
    with score.connect(relay.url) as elsewhere:
        outcome = elsewhere.outcome(caught.value.token)
    assert outcome == (verdict, 1 if verdict == "taken" else None)
    assert client.ping() > 0  # settles on the way
    assert client.outcome(caught.value.token) == outcome
    stock.sync()
    assert stock == ({"x": 1} if verdict == "taken" else {})
    stock["y"] = 2
    assert stock["y"] == 2
    client.close()


def test_what_could_not_be_sent_by_the_deadline_has_changed_nothing(relay: Relay) -> None:
    with score.connect(relay.url) as client:
        stock = SMap[str, int](client, "stock")
        relay.refuse()
        with client.deadline(0.1), pytest.raises(score.DeadlineExceeded, match="nothing"):
            stock["x"] = 1
        relay.accept()
        stock.sync()
        assert stock == {}


def test_the_outcome_of_a_name_that_nobody_knows_is_expired(client: Client) -> None:
    assert client.outcome(f"{bytes(16).hex()}-1") == ("expired", None)
    with pytest.raises(score.InvalidNameError):
        client.outcome("hello")


# ---------------------------------------------------------------- deadlines, threads, processes


def test_an_inner_deadline_never_extends_an_outer_one(client: Client) -> None:
    with client.deadline(0):
        with client.deadline(100), pytest.raises(score.DeadlineExceeded):
            client.ping()
    assert client.ping() > 0


def test_threads_take_turns(client: Client) -> None:
    def count() -> None:
        mine = SMap[str, int](client, "counter")
        for _ in range(25):
            mine.increment("n")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert SMap[str, int](client, "counter")["n"] == 100


def test_a_turn_that_does_not_come_is_a_deadline(client: Client) -> None:
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with client._lock:
            taken.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait()
    with client.deadline(0.05), pytest.raises(score.DeadlineExceeded, match="another thread"):
        client.ping()
    done.set()
    holder.join()
    assert client.ping() > 0


def test_a_child_after_fork_has_its_own_connection_and_session(client: Client) -> None:
    stock = SMap[str, int](client, "stock")
    stock["parent"] = 1
    identity = client._session.id
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        try:
            stock["child"] = 2
            os.write(writing, b"ok" if client._session.id != identity else b"same")
        finally:
            os._exit(0)
    os.close(writing)
    assert os.read(reading, 10) == b"ok"
    os.close(reading)
    os.waitpid(child, 0)
    stock["parent"] = 3
    assert stock == {"parent": 3, "child": 2}
    assert client._session.id == identity


# ---------------------------------------------------------------- refusals


def test_a_change_over_the_limit_is_refused_before_anything_changes(client: Client) -> None:
    blobs = SMap[str, bytes](client, "blobs")
    with pytest.raises(score.ChangeTooLargeError, match="split it") as caught:
        blobs["x"] = bytes(5 * 1024 * 1024)
    assert caught.value.size > caught.value.limit == 4 * 1024 * 1024
    assert blobs == {}
    blobs["x"] = bytes(1024 * 1024)
    assert len(blobs["x"]) == 1024 * 1024


def test_a_session_that_the_server_lost_is_replaced(relay: Relay) -> None:
    with score.connect(relay.url) as client:
        stock = SMap[str, int](client, "stock")
        stock["x"] = 1
        client._session.id = bytes(16)
        client._drop()
        stock["x"] = 2
        assert client._session.id != bytes(16)
        assert stock == {"x": 2}


def test_a_change_whose_session_is_gone_says_that_nobody_knows(relay: Relay) -> None:
    with score.connect(relay.url) as client:
        stock = SMap[str, int](client, "stock")
        stock["x"] = 1
        relay.cut_all()
        client._session.id = bytes(16)
        client._session.name("stock", 1, wire.INTENT, b"x").sent = True
        replica = stock._view.replica
        with pytest.raises(score.SessionExpiredError, match="cannot be learned"):
            client._persist(client._submit_on, (replica, b"", 0, None, None), client._deadline())
        stock["x"] = 3
        assert stock == {"x": 3}


def test_a_group_from_another_store_is_refused_never_merged() -> None:
    with server() as one, server() as two:
        with score.connect(one) as client, score.connect(two) as other:
            stock = SMap[str, int](client, "stock")
            stock["x"] = 1
            SMap[str, int](other, "stock")["y"] = 1
            client._address = other._address
            client._drop()
            with pytest.raises(score.GroupReplacedError, match="join again"):
                stock["x"] = 2
            assert stock == {"x": 1}
            vec = SVec[int](client, "elsewhere")
            vec.append(1)
            assert vec == [1]


def test_a_view_that_stopped_sends_no_changes(client: Client) -> None:
    mine, theirs = SMap[str, int](client, "m"), SMap[str, int](client, "m")
    mine["n"] = 1
    with pytest.raises(score.UpgradeNeededError):
        client.submit(mine._view.replica, codec.encode([99, [1, 0, 0, "n", 2]]), wire.INTENT)
    for _ in range(3):
        with pytest.raises(score.UpgradeNeededError, match="update ucore"):
            theirs["n"] = 3
    # The first of the three could not know; the others were not even sent.
    assert client.groups()[0].position == 3


def test_the_kernels_word_that_a_peer_is_dead_is_a_lost_connection_and_no_deadline(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = SMap[str, int](client, "stock")
    stream = client._link._stream  # type: ignore[union-attr]

    def dead(timeout: float | None) -> bytes:
        raise OSError(errno.ETIMEDOUT, "dead")

    monkeypatch.setattr(stream, "receive", dead)
    stock["x"] = 1
    assert stock == {"x": 1}


def test_closing_does_not_wait_for_another_threads_call(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("score.client.GOODBYE_S_MAX", 0.01)
    taken, done = threading.Event(), threading.Event()
    ended: list[BaseException | None] = []

    def call(link: object, deadline: object) -> None:
        taken.set()
        done.wait()

    holder = threading.Thread(target=lambda: ended.append(client.perform(call)))
    holder.start()
    taken.wait()
    client.close()
    done.set()
    holder.join()
    assert ended == [None]
    assert client._link is None
