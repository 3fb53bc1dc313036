"""Histories as lines, the recorder around a real client, and the reader of a real server's log."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import score
from score import SMap, SStack, SVec
from score.client import Client
from score.testing import server
from score.testing.check import check
from score.testing.history import (
    CHUNK_LINES,
    Ask,
    History,
    HistoryError,
    LogEntry,
    Operation,
    State,
    Sync,
    read_history,
    to_line,
    write_history,
)
from score.testing.history_log import read_log
from score.testing.history_recorder import Recorder
from score_server.wire.connection import Connection, Role
from score_server.wire.messages import SHUTTING_DOWN, Error

from ..relay import Relay
from .histories import good_history

SESSION = "000102030405060708090a0b0c0d0e0f"

# One record of each kind, as the files hold them.
LINES = {
    f'["operation","ada",7,2,"stock",100,200,"{SESSION}",3,41,true,"not head",44,44,"aa"]':
        Operation("ada", 7, 2, "stock", 100, 200, SESSION, 3, 41, True, "not head", 44, 44, "aa"),
    '["operation","ada",8,2,"stock",300,400,null,null,44,false,"unsent",null,44,null]':
        Operation("ada", 8, 2, "stock", 300, 400, None, None, 44, False, "unsent", None, 44, None),
    '["sync","ada",2,"stock",210,220,44,"aa"]': Sync("ada", 2, "stock", 210, 220, 44, "aa"),
    f'["ask","ben",500,600,"{SESSION}",3,"not taken",null]':
        Ask("ben", 500, 600, SESSION, 3, "not taken", None),
    '["state","ada",2,"stock",700,44,"aa","d1",true]':
        State("ada", 2, "stock", 700, 44, "aa", "d1", True),
    f'["entry","stock",44,41,"{SESSION}",1,"aa","d1",false,true]':
        LogEntry("stock", 44, 41, SESSION, 1, "aa", "d1", False, True),
}  # fmt: skip


def written(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


# ---------------------------------------------------------------- lines


@pytest.mark.parametrize(("line", "record"), LINES.items(), ids=lambda v: type(v).__name__)
def test_a_record_has_one_form(line: str, record: Operation) -> None:
    assert to_line(record) == line + "\n"


def test_what_was_written_is_read_from_several_files_in_order(tmp_path: Path) -> None:
    one = written(tmp_path / "one", *LINES)
    two = written(tmp_path / "two", '["retention",86400]', next(iter(LINES)))
    history = read_history(one, two)
    records = list(LINES.values())
    assert history.operations == [*records[:2], records[0]]
    assert [*history.syncs, *history.asks, *history.states, *history.log] == records[2:]
    assert history.retention == 86400


def test_reading_takes_back_what_writing_gave(tmp_path: Path) -> None:
    history = good_history(seed=1, operations=CHUNK_LINES + 10)
    history.retention = 5
    write_history(history, tmp_path / "file")
    assert read_history(tmp_path / "file") == history


def test_a_record_is_put_where_it_belongs(tmp_path: Path) -> None:
    history = History()
    for record in LINES.values():
        history.add(record)
    write_history(history, tmp_path / "file")
    assert (tmp_path / "file").read_text().splitlines() == list(LINES)
    assert read_history(tmp_path / "file") == history


def test_a_call_counts_until_its_operation_is_there(tmp_path: Path) -> None:
    begun = Operation("a", 1, 1, "g", 1, None, SESSION, 1, 0, False, "unknown", None, None, None)
    killed = begun._replace(number=2, seq=2)
    ended = begun._replace(ended=9, told="taken", place=1, at=1)
    path = tmp_path / "file"
    path.write_text(to_line(begun, call=True) + to_line(ended) + to_line(killed, call=True))
    assert read_history(path).operations == [ended, killed]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("no json", "line 2 is no JSON"),
        ("", "line 2 is no JSON"),
        ("7", "line 2 does not begin with a kind"),
        ("[]", "line 2 does not begin with a kind"),
        ('["opinion"]', "line 2 does not begin with a kind .operation, call"),
        ('["sync","ada"]', "line 2: a sync has 7 fields .client, view.*, not 1"),
        ('["retention"]', "line 2: a retention has 1 fields .time., not 0"),
        ('["retention",1],["retention",1]', "line 2 is no JSON"),
        ('["entry",[],1,0,"ab",1,null,null,null,null]', "lines 1 to 3: a text is something else"),
    ],
)
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    good = next(iter(LINES))
    path = written(tmp_path / "file", good, line, good)
    with pytest.raises(HistoryError, match=rf"file: {complaint}"):
        read_history(path)


def test_what_is_no_text_at_all_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xff\xfe\n")
    with pytest.raises(HistoryError, match=r"file: .*utf-8"):
        read_history(tmp_path / "file")


# ---------------------------------------------------------------- a real client


@pytest.fixture
def url() -> Iterator[str]:
    with server() as url:
        yield url


def test_a_recorded_program_keeps_the_promises_and_shows_all_that_it_did(
    url: str, tmp_path: Path
) -> None:
    paths = [tmp_path / "ada", tmp_path / "ben"]
    with (
        score.connect(url) as one,
        score.connect(url) as two,
        Recorder(one, paths[0], "ada") as ada,
        Recorder(two, paths[1], "ben") as ben,
    ):
        stock, log, work = SMap[str, int](one, "stock"), SVec[int](one, "log"), SStack(one, "work")
        other, third = SVec[int](two, "log"), SVec[int](two, "log")
        assert stock.increment("n") == 1
        with stock.batch() as batch:
            batch.increment("n")
            batch["m"] = 5
        log.extend([1, 2, 3])
        with pytest.raises(IndexError):
            work.pop()
        other.sync()
        third.sync()
        log[1] = 8
        other[0] = 9  # refused, looked at, and made again
        with pytest.raises(score.ConflictError):
            third[1] = 7
        log.sync()
        for recorder, structure in ((ada, stock), (ada, log), (ada, work), (ben, other)):
            recorder.state(structure, final=True)
    history = read_history(*paths)
    for name, kind in (("stock", "map"), ("log", "vec"), ("work", "stack")):
        history.log += read_log(url, name, kind)
    verdict = check(history)
    assert verdict.ok, str(verdict)
    told = [(op.client, op.group, op.told, op.strict) for op in history.operations]
    assert told == [
        ("ada", "stock", "taken", False),
        ("ada", "stock", "taken", False),
        ("ada", "log", "taken", False),
        ("ada", "work", "failed", False),
        ("ada", "log", "taken", True),
        ("ben", "log", "not head", True),
        ("ben", "log", "taken", True),
        ("ben", "log", "not head", True),
    ]
    assert {(state.client, state.group) for state in history.states} == {
        ("ada", "stock"), ("ada", "log"), ("ada", "work"), ("ben", "log"),
    }  # fmt: skip
    assert [entry.failed for entry in history.log if entry.group == "work"] == [True]


def test_what_stays_unknown_is_recorded_as_that_and_then_asked_for(
    url: str, tmp_path: Path
) -> None:
    def change(group: str, timeout: float = 30.0) -> int:
        """One change on a connection of its own; the bytes that came back for it."""
        before = relay.bytes_down
        with score.connect(relay.url, timeout=timeout) as client:
            with Recorder(client, tmp_path / "file", group):
                SMap[str, int](client, group)["a"] = 1
        return relay.bytes_down - before

    with Relay(url) as relay:
        size = change("g1")
        relay.cut_next(down=size - 1, then_refuse=True)
        with pytest.raises(score.OutcomeUnknown) as landed:
            change("g2", timeout=1.5)
        relay.accept()
        with score.connect(relay.url) as client, Recorder(client, tmp_path / "file", "lost"):
            lost = SMap[str, int](client, "g3")
            lost["a"] = 1
            relay.refuse()
            with client.deadline(0.5), pytest.raises(score.OutcomeUnknown) as gone:
                lost["b"] = 2
            relay.accept()
            assert client.outcome(landed.value.token).verdict == "taken"
            assert client.outcome(gone.value.token).verdict == "not taken"
    history = read_history(tmp_path / "file")
    for name in ("g1", "g2", "g3"):
        history.log += read_log(url, name, "map")
    verdict = check(history)
    assert verdict.ok, str(verdict)
    assert [operation.told for operation in history.operations] == [
        "taken", "unknown", "taken", "unknown",
    ]  # fmt: skip
    assert verdict.checked["P7"] == 2


def test_a_change_that_was_never_sent_has_no_name(url: str, tmp_path: Path) -> None:
    with Relay(url) as relay, score.connect(relay.url) as client:
        with Recorder(client, tmp_path / "file", "ada"):
            stock = SMap[str, int](client, "stock")
            relay.refuse()
            with client.deadline(0.05), pytest.raises(score.DeadlineExceeded):
                stock["a"] = 1
    (operation,) = read_history(tmp_path / "file").operations
    assert (operation.told, operation.session, operation.seq) == ("unsent", None, None)


def test_a_name_that_was_taken_back_is_not_recorded(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with score.connect(url) as client, Recorder(client, tmp_path / "file", "ada"):
        stock = SMap[str, int](client, "stock")

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr("score.replica.Replica.expect", interrupt)
            stock["a"] = 1
        stock["b"] = 2
    one, two = read_history(tmp_path / "file").operations
    assert (one.told, one.seq) == ("unsent", None)
    assert (two.told, two.seq) == ("taken", 1)


def test_a_refusal_for_another_reason_is_told(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from score_server.wire.messages import STORE_FULL, Refused

    with score.connect(url) as client, Recorder(client, tmp_path / "file", "ada"):
        stock = SMap[str, int](client, "stock")
        with monkeypatch.context() as patched, pytest.raises(score.StoreFullError):
            patched.setattr(Client, "submit", lambda *_: Refused(1, STORE_FULL, 0))
            stock["a"] = 1
    (operation,) = read_history(tmp_path / "file").operations
    assert (operation.told, operation.place) == ("refused", None)


def test_a_recording_begins_before_the_first_change_and_can_end_at_any_time(
    url: str, tmp_path: Path
) -> None:
    with score.connect(url) as client:
        recorder = Recorder(client, tmp_path / "file", "ada")
        stock = SMap[str, int](client, "stock")
        stock["a"] = 1
        recorder.close()
        recorder.close()
        stock["b"] = 2
        assert stock == {"a": 1, "b": 2}
        assert "submit" not in vars(client)
        with pytest.raises(ValueError, match="before its client's first change"):
            Recorder(client, tmp_path / "file", "late")
    assert len(read_history(tmp_path / "file").operations) == 1


# ---------------------------------------------------------------- a real log


def test_a_log_is_read_without_folding_too(url: str) -> None:
    with score.connect(url) as client:
        stock = SMap[str, int](client, "stock")
        stock["a"] = 1
        stock["b"] = 2
        head = stock.position
    entries = read_log(url, "stock")
    assert [entry.seq for entry in entries] == [1, 2]
    assert entries[-1].position == head
    assert entries[1].predecessor == entries[0].position
    assert {entry.digest for entry in entries} == {None}
    assert read_log(url, "nothing") == []


def test_folding_says_what_failed_and_what_changed(url: str) -> None:
    with score.connect(url) as client:
        stock = SMap[str, list[int]](client, "stock")
        stock["a"] = [1]
        stock["b"] = []
        stock.update(a=[1])  # another list, but nothing else than before to look at
        with pytest.raises(KeyError), stock.batch() as batch:
            del batch["a"]
            batch["a"] = [2]
            del batch["c"]
    entries = read_log(url, "stock", "map")
    assert [(entry.failed, entry.changed) for entry in entries] == [
        (False, True), (False, True), (False, False), (True, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "answer", [b"", Connection(Role.SERVER).send(Error(SHUTTING_DOWN, 0, "soon"))]
)
def test_a_server_that_ends_instead_is_an_error(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connected, _ = listener.accept()
            with connected:
                connected.recv(1000)
                connected.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises((RuntimeError, ConnectionResetError), match="reading group 'g'"):
            read_log(f"score://127.0.0.1:{listener.getsockname()[1]}", "g")
        thread.join()
