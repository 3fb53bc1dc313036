"""Snapshots from end to end: uploaded by the raw messages, vouched for, trimmed to, joined by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import score
from score import Client, SMap, SStack, SVec
from score.blocking import Deadline, Link
from score.rawlog import RawLog
from score.replica import Replica
from score.snapshot import Progress, encode_dump
from score.structures import Shared
from score_server.wire import messages as wire
from score_server.wire.entry import decode_entry, next_chain, snapshot_digest
from ucore import UMap

LINKS: list[Link] = []  # of the compactors of one test


@pytest.fixture(params=["memory", "sqlite"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    path = tmp_path / "score.db" if request.param == "sqlite" else None
    with score.local(path, timeout=10) as connected:
        yield connected
        while LINKS:
            LINKS.pop().close()


class Compactor:
    """Speaks the raw messages on a channel of its own."""

    def __init__(self, client: Client, group: str) -> None:
        self.client = client
        self.link: Link = client.open_link(Deadline.after(10), ["compact"])
        LINKS.append(self.link)
        self.replica = Replica(group, UMap[Any, Any]()._tree)
        self.channel = self.link.conversation.join(self.replica)
        self.link.ask(("joined", self.channel), Deadline.after(10), self.channel)
        self.ask(wire.Sync)

    def ask(self, kind: type, *fields: object) -> Any:
        number = self.link.conversation.next_number()
        self.link.conversation.send(kind(self.channel, number, *fields))
        return self.link.ask(("request", number), Deadline.after(10))

    def upload(
        self, position: int, chain: bytes, data: bytes, chunk: int = 1000
    ) -> wire.SnapshotKept:
        digest = snapshot_digest(data)
        kept = self.ask(wire.OfferSnapshot, position, chain, len(data), digest)
        while kept.verdict == wire.KEPT and kept.size < len(data):
            kept = self.ask(wire.PutSnapshot, kept.size, data[kept.size : kept.size + chunk])
        return kept

    def trim(self, position: int, data: bytes) -> wire.Trimmed:
        return self.ask(wire.Trim, position, snapshot_digest(data))


def snapshot_of(structure: Shared) -> tuple[int, bytes, bytes]:
    """Position, chain and bytes of the snapshot of *structure* as it is."""
    replica = structure._view.replica
    resume = replica.resume()
    assert resume is not None
    return resume.position, resume.chain, encode_dump(replica.tree)


def compact(client: Client, structure: Shared) -> bytes:
    """Make a snapshot of *structure* and trim to it; the client's last change counts as settled."""
    structure.sync()
    SMap[str, int](client, "settles")["x"] = 1
    position, chain, data = snapshot_of(structure)
    compactor = Compactor(client, structure.group)
    kept = compactor.upload(position, chain, data)
    assert (kept.verdict, kept.size) == (wire.KEPT, len(data))
    trimmed = compactor.trim(position, data)
    assert (trimmed.verdict, trimmed.floor) == (wire.TRIM_DONE, position)
    return data


def group(client: Client, name: str) -> score.Group:
    return next(found for found in client.groups() if found.name == name)


def test_a_join_is_by_the_snapshot_and_what_follows_it(client: Client) -> None:
    stock = SMap[str, list[int]](client, "stock")
    for number in range(50):
        stock[str(number)] = [number]
    data = compact(client, stock)
    stock["0"].append(1)
    told: list[Progress] = []
    fresh = SMap[str, list[int]](client, "stock", progress=told.append)
    assert fresh == stock
    assert fresh["0"] == [0, 1]
    assert (told[0].phase, told[0].total) == ("snapshot", len(data))
    assert told[-1] == ("changes", 51, 51)
    found = group(client, "stock")
    assert found[:5] == ("stock", 51, 50, 50, len(data))
    assert 0 < found.tail_bytes < 1000
    fresh["0"].append(2)
    stock.sync()
    assert stock["0"] == [0, 1, 2]
    stock.verify()


@pytest.mark.parametrize("cls", [SVec, SStack])
def test_every_kind_of_structure_is_loaded_from_its_snapshot(client: Client, cls: Any) -> None:
    shared = cls(client, "s")
    (shared.push if cls is SStack else shared.append)("a")
    compact(client, shared)
    assert list(cls(client, "s")) == ["a"]
    with pytest.raises(score.SkeletonError, match="group 's' holds a"):
        SMap(client, "s")


def test_a_client_that_lags_is_loaded_anew_once_and_its_handles_go_on(client: Client) -> None:
    stock, late = (SMap[str, list[int]](client, "stock") for _ in range(2))
    stock["a"] = [1]
    late.sync()
    handle = late["a"]
    stock["a"].append(2)
    stock["b"] = []
    compact(client, stock)
    stock["c"] = []
    with score.connect(client.url) as other, late.watch(timeout=5) as watch:
        assert [next(watch).kind for _ in range(2)] == ["reload", "put"]
        assert late == stock
        assert late["a"] is handle
        handle.append(3)
        assert SMap[str, list[int]](other, "stock")["a"] == [1, 2, 3]


def test_a_blocking_client_that_lags_goes_on_from_the_snapshot_within_its_next_call(
    client: Client,
) -> None:
    stock = SMap[str, int](client, "stock")
    with score.connect(client.url) as other:
        late = SMap[str, int](other, "stock")
        late["n"] = 1
        other.ping()
        late.increment("n")
        for _ in range(5):
            stock.increment("n")
        SMap[str, int](other, "else")["x"] = 1  # settles what it did here
        compact(client, stock)
        stock.increment("n")
        assert late.increment("n") == 9
        assert late == {"n": 9}


def test_a_view_two_versions_behind_is_brought_on(client: Client) -> None:
    stock, late = (SMap[str, int](client, "stock") for _ in range(2))
    stock["n"] = 0
    late.sync()
    for _ in range(2):
        for _ in range(5):
            stock.increment("n")
        compact(client, stock)
    stock.increment("n")
    late.sync()
    assert late == stock == {"n": 11}
    assert late.position == stock.position


def test_a_strict_change_of_a_view_that_was_loaded_anew_conflicts(client: Client) -> None:
    todo, late = SVec[int](client, "todo"), SVec[int](client, "todo")
    todo.extend(range(5))
    late.sync()
    todo.append(5)
    compact(client, todo)
    with pytest.raises(score.ConflictError):
        late[0] = 7
    assert late == todo == [0, 1, 2, 3, 4, 5]
    late[0] = 7
    assert late[0] == 7


def test_what_is_not_settled_holds_back_the_log(client: Client) -> None:
    stock = SMap[str, int](client, "stock")
    with score.connect(client.url) as other:
        mine = SMap[str, int](other, "stock")
        mine["n"] = 1  # its answer has come, and the server does not know that
        for _ in range(5):
            stock.increment("n")
        SMap[str, int](client, "settles")["x"] = 1
        position, chain, data = snapshot_of(stock)
        compactor = Compactor(client, "stock")
        compactor.upload(position, chain, data)
        assert compactor.trim(position, data)[1:] == (wire.TRIM_DONE, 0)
        assert group(client, "stock").floor == 0
        SMap[str, int](other, "settles")["y"] = 1
        assert compactor.trim(position, data).floor == position
        assert mine.increment("n") == 7


def test_a_snapshot_is_only_taken_with_the_digest_of_a_second_fold(client: Client) -> None:
    stock = SMap[str, int](client, "stock")
    stock["n"] = 1
    position, chain, data = snapshot_of(stock)
    compactor = Compactor(client, "stock")
    assert compactor.trim(position, data).verdict == wire.TRIM_UNKNOWN
    assert compactor.upload(position, chain, data).verdict == wire.KEPT
    assert compactor.trim(position, data + b"x").verdict == wire.TRIM_DIFFERS
    assert compactor.trim(position, data).verdict == wire.TRIM_UNKNOWN  # it was dropped
    assert group(client, "stock").snapshot_bytes == 0
    for place in ((position, b"x" * 16), (position + 1, chain)):
        assert compactor.upload(*place, data).verdict == wire.UNKNOWN_PLACE
    digest = snapshot_digest(data)
    compactor.ask(wire.OfferSnapshot, position, chain, len(data), digest)
    assert compactor.ask(wire.PutSnapshot, 1, b"x").verdict == wire.BROKEN
    compactor.ask(wire.OfferSnapshot, position, chain, len(data), digest)
    assert compactor.ask(wire.PutSnapshot, 0, bytes(len(data))).verdict == wire.BROKEN
    assert SMap[str, int](client, "stock") == {"n": 1}


def test_a_group_that_keeps_its_history_is_joined_by_its_snapshot_and_trimmed_of_nothing(
    client: Client,
) -> None:
    stock = SMap[str, int](client, "stock", keep_history=True)
    for number in range(5):
        stock["n"] = number
    position, chain, data = snapshot_of(stock)
    compactor = Compactor(client, "stock")
    compactor.upload(position, chain, data)
    assert compactor.trim(position, data).floor == 0
    found = group(client, "stock")
    assert (found.keep_history, found.floor, found.snapshot_position) == (True, 0, position)
    told: list[Progress] = []
    assert SMap[str, int](client, "stock", progress=told.append) == stock
    assert [one.phase for one in told] == ["snapshot"]


def test_an_empty_group_takes_a_snapshot_as_its_beginning(client: Client) -> None:
    model: UMap[str, list[int]] = UMap(a=[1, 2])
    model._tree.position = 70
    data = encode_dump(model._tree)
    compactor = Compactor(client, "imported")
    incarnation = compactor.replica.incarnation
    assert incarnation is not None
    assert compactor.upload(70, incarnation, data).verdict == wire.KEPT
    assert compactor.trim(70, data) == compactor_answer(compactor, wire.TRIM_DONE, 70)
    imported = SMap[str, list[int]](client, "imported")
    assert imported == {"a": [1, 2]}
    imported["a"].append(3)
    assert imported.position == 71
    with RawLog(client, "imported") as log:
        assert b"".join(log.snapshot()) == data
        assert log.raw.chain == next_chain(incarnation, snapshot_digest(data))
        assert [decode_entry(one).position for run in log.entries() for one in run] == [71]


def compactor_answer(compactor: Compactor, verdict: int, floor: int) -> wire.Trimmed:
    return wire.Trimmed(compactor.link.conversation._last_number, verdict, floor)


def test_a_deleted_group_is_gone_for_all_who_use_it_and_its_name_is_free(client: Client) -> None:
    stock, idle = SMap[str, int](client, "stock"), SMap[str, int](client, "stock")
    stock["n"] = 1
    compact(client, stock)
    idle.sync()
    stock.sync()
    assert client.delete("stock")
    assert not client.delete("stock")
    assert "stock" not in [found.name for found in client.groups()]
    with pytest.raises(score.GroupDeletedError, match="'stock' was deleted"):
        stock.increment("n")
    for use in (stock.sync, lambda: stock.increment("n"), idle.sync):
        with pytest.raises(score.GroupReplacedError, match="join again"):
            use()
    assert stock == {"n": 1}
    again = SMap[str, int](client, "stock")
    assert again == {}
    again["n"] = 2
    with pytest.raises(TypeError):
        client.delete(7)  # type: ignore[arg-type]


def test_a_type_that_is_not_known_in_a_snapshot_stops_the_view(client: Client) -> None:
    compactor = Compactor(client, "odd")
    from score_server.wire.codec import encode

    data = encode([1, 5, None, [35, 0, 0, "a", [9999, 1]]])
    assert compactor.replica.incarnation is not None
    compactor.upload(5, compactor.replica.incarnation, data)
    compactor.trim(5, data)
    with pytest.raises(score.UnknownTypeError, match="9999"):
        SMap(client, "odd")


def test_a_view_that_is_not_what_the_server_has_is_found_out_and_loaded_again(
    client: Client,
) -> None:
    stock = SMap[str, int](client, "stock")
    stock["n"] = 1
    compact(client, stock)
    stock.verify()
    dict.__setitem__(stock, "n", 2)
    with pytest.raises(score.DivergedError, match="has been loaded again"):
        stock.verify()
    assert stock == {"n": 1}
    stock.verify()


def test_a_group_is_read_raw_from_its_snapshot_on_and_as_it_goes(client: Client) -> None:
    stock = SMap[str, int](client, "stock")
    stock["n"] = 1
    with RawLog(client, "stock") as log:
        assert list(log.snapshot()) == []
        (run,) = log.entries()
        assert [entry.position for entry in map(decode_entry, run)] == [1]
        stock["n"] = 2
        assert [decode_entry(one).position for one in next(log.follow())] == [2]
    data = compact(client, stock)
    with RawLog(client, "stock") as log:
        stock["n"] = 3
        assert [decode_entry(one).position for run in log.entries() for one in run] == [3]
        assert log.raw.info is not None
        assert (log.raw.begin, log.raw.info.size, log.raw.incarnation) == (
            2, len(data), stock._view.replica.incarnation,
        )  # fmt: skip


def test_a_compactor_is_asked_when_a_log_has_grown_long(client: Client) -> None:
    stock = SMap[str, bytes](client, "stock")
    compactor = Compactor(client, "stock")
    for _ in range(3):
        stock["x"] = bytes(500_000)
    while not (wanted := compactor.link.conversation.wanted()):
        compactor.link.receive(Deadline.after(10))
    assert wanted == ["stock"]
