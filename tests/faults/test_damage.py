"""Each bit of a store flipped, the file cut off at every byte, and a log of commits at many of both.

A damaged store is refused in one clear line, or the damaged group is, or the damage was where nothing is kept:
never is anything lost or changed without a word.  The store is opened in this process, as a server does it
at its start; every group is read to its end.

What nobody can notice is written down here as well: a write-ahead log that was cut off, or damaged in its very
last commit, looks like one whose end was torn, and the store is that of an earlier moment.  Clients that saw
more are refused (``GroupReplaced``); it is never a mixture.
"""

from __future__ import annotations

import multiprocessing
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

import pytest

import score
from score_server.stores.base import (
    Commit,
    GroupDamaged,
    GroupState,
    LogStore,
    NewChunk,
    NewEntry,
    NewGroup,
    NewTrim,
    SessionChange,
    SessionState,
    SnapshotState,
    StoredOutcome,
    StoreUnusable,
)
from score_server.stores.sqlite import SqliteStore
from score_server.wire.entry import next_chain

from .machine import Scale, site

SEED = 3
CHUNK = 512  # damages that one process tries in one go

Logs = dict[str, list[tuple[int, bytes, bytes]]]


class Contents(NamedTuple):
    """Everything that a store holds."""

    groups: dict[str, GroupState]
    sessions: tuple[SessionState, ...]
    logs: Logs  # what is above each floor
    snapshots: dict[str, bytes]


def contents(path: Path) -> Contents:
    """Everything, read as a server reads it.

    Raises:
        StoreUnusable, GroupDamaged: as the store does.
    """
    store = SqliteStore(str(path))
    try:
        return contents_of(store)
    finally:
        store.close()


def contents_of(store: LogStore) -> Contents:
    """Everything in *store*."""
    state = store.load()
    logs: Logs = {}
    snapshots: dict[str, bytes] = {}
    groups = {group.name: group for group in store.list_groups("", 99)}
    for name, group in groups.items():
        store.look_up(name, group.floor)
        log = logs[name] = []
        while part := store.read(name, log[-1][0] if log else group.floor, 600):
            log += part
        at, data = group.snapshot.position if group.snapshot else 0, b""
        while more := store.read_snapshot(name, at, len(data), 600):
            data += more
        snapshots[name] = data
    return Contents(groups, state.sessions, logs, snapshots)


class Files(NamedTuple):
    """A store's files at rest."""

    store: bytes
    wal: bytes | None

    def put(self, path: Path) -> None:
        path.write_bytes(self.store)
        wal = path.with_name(f"{path.name}-wal")
        if self.wal is None:
            wal.unlink(missing_ok=True)
        else:
            wal.write_bytes(self.wal)


def verdict(files: Files, path: Path, expected: Contents) -> str:
    """What comes of opening *files* at *path*: "refused", "group refused", "whole", or "older"."""
    files.put(path)
    try:
        found = contents(path)
    except StoreUnusable:
        return "refused"
    except GroupDamaged:
        return "group refused"
    if found == expected:
        return "whole"
    return "older" if is_older(found, expected) else "WRONG"


def is_older(found: Contents, expected: Contents) -> bool:
    """Whether *found* is what was there at an earlier moment: each log a part of what was ever in it,
    and each snapshot one that was there."""
    history = expected.logs | HISTORY.logs
    return (
        all(
            log == [row for row in history[name] if group.floor < row[0] <= group.head]
            and found.snapshots[name] in (b"", *SNAPSHOTS)
            and group.head <= expected.groups[name].head
            for name, group in found.groups.items()
            for log in (found.logs[name],)
        )
        and found != expected
    )


class Damage(NamedTuple):
    """One change to one of the files: a bit flipped at *at*, or cut off there (*bit* None)."""

    of_wal: bool
    at: int
    bit: int | None

    def done_to(self, files: Files) -> Files:
        data = bytearray(files.wal or b"" if self.of_wal else files.store)
        if self.bit is None:
            del data[self.at :]
        else:
            data[self.at] ^= 1 << self.bit
        return files._replace(wal=bytes(data)) if self.of_wal else files._replace(store=bytes(data))


_work: tuple[Files, Contents] | None = None


def try_all(damages: list[Damage]) -> list[str]:
    """In a process of its own, forked with ``_work`` set."""
    assert _work is not None
    files, expected = _work
    folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        return [
            verdict(damage.done_to(files), Path(scratch) / "x.db", expected) for damage in damages
        ]


def outcomes(files: Files, expected: Contents, damages: list[Damage]) -> dict[Damage, str]:
    global _work
    _work = files, expected
    chunks = [damages[i : i + CHUNK] for i in range(0, len(damages), CHUNK)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        told = [word for words in pool.map(try_all, chunks, 1) for word in words]
    return dict(zip(damages, told, strict=True))


class Store(NamedTuple):
    """A small store that a real server wrote, at rest in order and as a killed server leaves it."""

    ordered: Files
    killed: Files
    expected: Contents


# ---------------------------------------------------------------- a store with snapshots

SNAPSHOTS = (b"older" * 100, b"newer" * 200)


def _history() -> Contents:
    """All entries that are ever in it."""
    logs: Logs = {}
    for name in ("trimmed", "whole"):
        chain, logs[name] = name.encode().ljust(16), []
        for position in range(1, 10):
            encoded = b"%s:%d;" % (name.encode(), position) * 5
            chain = next_chain(chain, encoded)
            logs[name].append((position, encoded, chain))
    return Contents({}, (), logs, {})


HISTORY = _history()


def fill(store: SqliteStore) -> None:
    """Two snapshots, one after the other, a tail and an unfinished candidate, beside a group without any."""

    def append(first: int, last: int) -> None:
        entries = tuple(
            NewEntry(name, position, position - 1, encoded, chain, position)
            for name, log in HISTORY.logs.items()
            for position, encoded, chain in log[first - 1 : last]
        )
        outcomes = (StoredOutcome(last, last, "trimmed", False, last - 1),)
        change = SessionChange(b"s" * 16, "ada", last, last - 2, outcomes)
        store.commit(Commit((), entries, (change,)))

    def snapshot(at: int, floor: int, data: bytes) -> None:
        for offset in range(0, len(data), 400):
            store.commit(Commit(chunks=(NewChunk("trimmed", offset, data[offset : offset + 400]),)))
        chain = HISTORY.logs["trimmed"][at - 1][2]
        state = SnapshotState(at, chain, len(data), b"d" * 32, 0)
        store.commit(Commit(trims=(NewTrim("trimmed", state, floor),)))

    store.commit(Commit(tuple(NewGroup(name, name.encode().ljust(16)) for name in HISTORY.logs)))
    append(1, 3)
    snapshot(2, 1, SNAPSHOTS[0])
    append(4, 6)
    snapshot(5, 4, SNAPSHOTS[1])
    append(7, 9)
    store.commit(Commit(chunks=(NewChunk("trimmed", 0, b"candidate" * 50),)))


@pytest.fixture(scope="module")
def trimmed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("trimmed") / "store.db"
    store = SqliteStore(str(path))
    fill(store)
    killed = Files(path.read_bytes(), Path(f"{path}-wal").read_bytes())
    store.close()
    return Store(Files(path.read_bytes(), None), killed, contents(path))


@pytest.fixture(params=["small", "trimmed"])
def any_store(request: pytest.FixtureRequest) -> Store:
    return cast(Store, request.getfixturevalue(request.param))


def test_a_store_with_snapshots_holds_what_its_checker_expects(trimmed: Store) -> None:
    expected = trimmed.expected
    assert [len(log) for log in expected.logs.values()] == [5, 9]
    assert expected.snapshots == {"trimmed": SNAPSHOTS[1], "whole": b""}
    older = Contents(
        {"trimmed": expected.groups["trimmed"]._replace(floor=1, head=3)},
        (),
        {"trimmed": HISTORY.logs["trimmed"][1:3]},
        {"trimmed": SNAPSHOTS[0]},
    )
    assert is_older(older, expected)
    assert not is_older(older._replace(snapshots={"trimmed": SNAPSHOTS[0][1:]}), expected)
    assert not is_older(older._replace(logs={"trimmed": HISTORY.logs["trimmed"][2:3]}), expected)


# ---------------------------------------------------------------- a store that a server wrote


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("damage")
    with site(folder / "s") as here:
        server = here.start()
        ada, ben = here.worker("ada"), here.worker("ben")
        for _ in range(3):
            ada.run(2)
            ben.run(2)
        server.kill()
        killed = Files(here.store.read_bytes(), Path(f"{here.store}-wal").read_bytes())
        copy = folder / "copy.db"
        shutil.copy(here.store, copy)
        shutil.copy(f"{here.store}-wal", f"{copy}-wal")
        expected = contents(copy)  # and closed in order by that
        yield Store(Files(copy.read_bytes(), None), killed, expected)


def test_the_checker_sees_what_is_wrong(small: Store, tmp_path: Path) -> None:
    files, whole = small.ordered, small.expected
    assert verdict(files, tmp_path / "x.db", whole) == "whole"
    log = whole.logs["values"]
    less = whole._replace(logs=whole.logs | {"values": log[:-1]})
    assert verdict(files, tmp_path / "x.db", less) == "WRONG"  # more than there was
    other = [(9, *log[0][1:])]
    changed = whole._replace(logs=whole.logs | {"values": other + log[1:]})
    assert verdict(files, tmp_path / "x.db", changed) == "WRONG"
    assert verdict(Files(b"nonsense" * 1000, None), tmp_path / "x.db", whole) == "refused"


def test_no_flipped_bit_of_a_store_goes_unnoticed(
    any_store: Store, scale: Scale, figures: dict[str, object]
) -> None:
    size = len(any_store.ordered.store)
    damages = [Damage(False, at, bit) for at in range(size) for bit in range(8)]
    if not scale.whole:
        damages = random.Random(SEED).sample(damages, 1500)
    told = outcomes(any_store.ordered, any_store.expected, damages)
    figures |= {"bits": len(damages)} | Counter(told.values())
    assert not [damage for damage, word in told.items() if word in ("WRONG", "older")]


def test_no_store_that_was_cut_off_goes_unnoticed(
    any_store: Store, scale: Scale, figures: dict[str, object]
) -> None:
    points = range(1, len(any_store.ordered.store))  # cut off to nothing: the next test
    damages = [Damage(False, at, None) for at in scale.spread(points, 400)]
    told = outcomes(any_store.ordered, any_store.expected, damages)
    figures |= {"cuts": len(damages)} | Counter(told.values())
    assert not [damage for damage, word in told.items() if word in ("WRONG", "older")]


def test_a_store_that_was_cut_off_to_nothing_is_no_new_one(small: Store, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    small.ordered.put(path)
    assert contents(path) == small.expected
    path.write_bytes(b"")
    with pytest.raises(StoreUnusable, match="was cut off to 0 bytes"):
        SqliteStore(str(path))
    path.unlink()
    SqliteStore(str(path)).close()  # whoever removes it wants a new one


def test_no_flipped_bit_of_a_killed_servers_log_goes_unnoticed_but_in_its_last_commit(
    any_store: Store, scale: Scale, figures: dict[str, object]
) -> None:
    wal = any_store.killed.wal
    assert wal is not None
    choose = random.Random(SEED)
    points = scale.spread(range(len(wal)), 150)[:: scale.pick(1, 25)]
    damages = [Damage(True, at, choose.randrange(8)) for at in points]
    told = outcomes(any_store.killed, any_store.expected, damages)
    figures |= {"bits": len(damages)} | Counter(told.values())
    assert not [damage for damage, word in told.items() if word == "WRONG"]
    older = [damage.at for damage, word in told.items() if word == "older"]
    assert min(older, default=len(wal)) >= begin_of_last_commit(wal)


def begin_of_last_commit(wal: bytes) -> int:
    """And of the frame before it: what says that it was the last of its commit cannot be told either."""
    frame = 24 + 4096
    ends = [at for at in range(32, len(wal), frame) if any(wal[at + 4 : at + 8])]
    return ends[-2]


def test_a_killed_servers_log_that_was_cut_off_is_an_earlier_moment_and_never_a_mixture(
    any_store: Store, scale: Scale, figures: dict[str, object]
) -> None:
    wal = any_store.killed.wal
    assert wal is not None
    points = scale.spread(range(len(wal) + 1), 150)[:: scale.pick(1, 25)]
    told = outcomes(any_store.killed, any_store.expected, [Damage(True, at, None) for at in points])
    figures |= {"cuts": len(points)} | Counter(told.values())
    assert not [damage for damage, word in told.items() if word == "WRONG"]


def test_a_client_that_has_seen_more_than_an_older_store_holds_is_refused(tmp_path: Path) -> None:
    with site(tmp_path / "s") as here:
        server = here.start()
        ada = here.worker("ada")
        ada.run(4)
        server.stop()
        older = here.store.read_bytes()
        server = here.start()
        ada.run(4)
        server.stop()
        here.store.write_bytes(older)
        here.start()
        with pytest.raises((score.GroupReplacedError, score.OutcomeUnknown)):
            ada.run(2)
        ben = here.worker("ben")
        assert ben.step() == "ok"  # who has seen nothing of it goes on with what there is


def test_a_damaged_group_is_refused_by_name_and_the_others_go_on(tmp_path: Path) -> None:
    with site(tmp_path / "s") as here:
        server = here.start()
        ada, ben = here.worker("ada"), here.worker("ben")
        ada.run(6)
        ben.run(2)
        server.stop()
        data = bytearray(here.store.read_bytes())
        at = data.index(b"ada:3")  # a value's bytes, in its entry
        data[at] ^= 1
        here.store.write_bytes(data)
        server = here.start()
        with score.connect(here.url) as newcomer:
            assert score.SMap[str, int](newcomer, "counts")["total"] == 4
            with pytest.raises(score.GroupDamagedError, match="'values' is damaged"):
                score.SVec[str](newcomer, "values")
            counts = score.SMap[str, int](newcomer, "counts")
            assert counts.increment("total") == 5
        server.wait_for("it is refused to clients, other groups go on")
        assert server.stop() == 0
