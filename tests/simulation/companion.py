"""Those who make snapshots when the server asks, and whether it asks as it should.

A companion is the real one (``score.tools.compaction.follow``, which has no end), on two simulated clients.  What
it must be asked for is computed anew, from what is durable: a log is *overdue* when it is longer than its limit.

- Nobody is asked for a log that is within its limit, nor again before it has doubled.
- Whoever is there is asked when a commit makes a log overdue, and for those in memory when it comes.
- Who was asked, or finds a long log in the list of groups, begins to fold it, unless its connection goes.
- Once faults have stopped, a log that still grows gets its snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from score.tools import compaction
from score_server.core import Core
from score_server.core.compactors import COMPACT
from score_server.core.group import Group
from score_server.core.peer import Peer
from score_server.stores.base import Commit
from score_server.wire.messages import GroupPage, Hello, Join, WantSnapshot

from .group_log import Log, Snapshot
from .network import Connection, SimSurroundings
from .plans import Op
from .workload import Process

if TYPE_CHECKING:
    from .oracle import Oracle
    from .world import World

GROWING = {"m": "put", "v": "append", "s": "push"}


class Companion(Process):
    """A program that makes snapshots for as long as it lives; when it is killed, another one does."""

    def __init__(self, world: World, number: int) -> None:
        super().__init__(world, number, [])
        self.sluggishness = max(self.sluggishness, 0.3)  # it is asked for several at once

    def run(self) -> None:
        self.around = SimSurroundings(self.world, self, f"{self.world.seed}/{self.name}")
        self.connect()
        client = self.client
        assert client is not None
        with self.patient_client() as checker:
            compaction.follow(client, checker, self.say)

    def say(self, text: str) -> None:
        self.world.note(f"{self.name}: {text}")

    def is_at_rest(self) -> bool:
        """Whether it waits to be asked: no call of its clients waits for ever."""
        task = self.task
        return task.until is None and task.waits_for.startswith("bytes") and not task.ready()


class Asked(NamedTuple):
    """How things stood when a snapshot was asked for."""

    log: Log
    snapshot: Snapshot | None
    group: Group  # as it was in memory: what it knows of asks goes with it
    log_bytes: int
    tail_bytes: int

    def has_doubled(self) -> bool:
        """Whether it is time to ask again, or for another one."""
        is_other = self.log.snapshot is not self.snapshot
        return is_other or self.log.log_bytes > self.log_bytes + self.tail_bytes


class Asks:
    """In one run of the server: whom it asks for what.  Stands between its ``Compactors`` and their output."""

    def __init__(self, oracle: Oracle, core: Core) -> None:
        self._oracle = oracle
        self._core = core
        self._out = core._compactors._out
        core._compactors._out = self  # type: ignore[assignment]
        self._companions: set[int] = set()  # their connections
        self._latest: dict[str, Asked] = {}
        self._latest_of: dict[tuple[int, str], Asked] = {}
        self._just_asked: set[tuple[int, str]] = set()
        # Who has not begun yet: by connection and label those asked, by label those who have seen the list.
        self._asked: dict[int, tuple[str, set[str]]] = {}
        self._listed: dict[str, set[str]] = {}

    def say(self, peer: Peer, message: WantSnapshot) -> None:
        """*peer* is asked."""
        self._out.say(peer, message)
        name, place = message.group, (peer.number, message.group)
        log, group = self._oracle.log(name), self._core._residents.groups[name]
        if not log.is_overdue():
            self._fail(
                f"{name} is asked for: its tail is of {log.tail_bytes}, the limit {log.limit}"
            )
        before = self._latest_of.get(place)
        if before is not None and before.log is log and before.group is group:
            if not before.has_doubled():
                self._fail(
                    f"{name} is asked for again, at {log.log_bytes} bytes after {before[3:]}"
                )
        asked = Asked(log, log.snapshot, group, log.log_bytes, log.tail_bytes)
        self._latest[name] = self._latest_of[place] = asked
        self._just_asked.add(place)
        if peer.number in self._asked:
            self._asked[peer.number][1].add(name)

    def heard(self, connection: Connection, message: object) -> None:
        """The server is about to be told *message*."""
        label = connection.label
        if isinstance(message, Hello) and COMPACT in message.features:
            self._asked[connection.number] = label, set()
        elif isinstance(message, Join):
            self._listed.get(label, set()).discard(message.group)
            for asked, groups in self._asked.values():
                if asked == label:
                    groups.discard(message.group)

    def told(self, connection: Connection, message: object) -> None:
        """The server sends *message*."""
        if isinstance(message, GroupPage):
            least, factor = compaction.TAIL_BYTES_MIN, compaction.TAIL_FACTOR
            rows: list[list[Any]] = message.groups
            self._listed[connection.label] = {
                name for name, *_, tail, size, _ in rows if tail > max(least, factor * size)
            }

    def gone(self, connection: Connection) -> None:
        """The server has noticed its end."""
        self._companions.discard(connection.number)
        self._asked.pop(connection.number, None)

    def owed_by(self, labels: Iterable[str]) -> list[str]:
        """What those of these *labels* should have begun to fold."""
        asked = [groups for label, groups in self._asked.values() if label in labels]
        listed = [self._listed.get(label, set()) for label in labels]
        return sorted(set().union(*asked, *listed))

    # ------------------------------------------------------------ after each step

    def check(self, batch: Commit | None = None) -> None:
        """Something has happened; *batch*: that has become durable."""
        core = self._core
        here = {peer.number for peer in core._peers.values() if not peer.closing}
        if gone := core._compactors._peers.keys() - here:
            self._fail(f"connections {sorted(gone)} have ended, and are asked for snapshots")
        if core._stopping:
            return
        for number in (self._asked.keys() & here) - self._companions:
            self._companions.add(number)
            self._expect(number, [g.name for g in core._residents.groups.values() if not g.damage])
        if batch is not None:
            grown = sorted({entry.group for entry in batch.entries})
            due = [name for name in grown if self._is_due(name)]
            for number in self._companions & here:
                self._expect(number, due)
        self._just_asked.clear()

    def _is_due(self, name: str) -> bool:
        """Whether *name* is to be asked for if it is overdue, or somebody was just asked for it."""
        if any(name == asked for _, asked in self._just_asked):
            return True  # then all are
        latest = self._latest.get(name)
        return latest is None or latest.log is not self._oracle.log(name) or latest.has_doubled()

    def _expect(self, number: int, groups: Iterable[str]) -> None:
        for name in groups:
            log = self._oracle.log(name)
            if log.is_overdue() and (number, name) not in self._just_asked:
                self._fail(
                    f"connection {number} is not asked for {name}: "
                    f"its tail is of {log.tail_bytes}, the limit {log.limit}"
                )

    def _fail(self, text: str) -> None:
        self._oracle.fail("asks", text)


def settle(process: Process) -> None:
    """Faults are over and nobody changes anything: see that the companions have done what they should."""
    world, oracle = process.world, process.world.oracle
    _rest(process)
    if oracle.forgets:
        return
    overdue = [group for group in world.groups() if oracle.log(group).is_overdue()]
    for group in overdue:
        process.come_to_rest(group, "sync")
        # So much that it is asked for, whenever it was before.
        tag = f"{process.number}.grows " + "x" * oracle.log(group).tail_bytes
        process.do(Op(GROWING[group[0]], group, (0, 0, 0), tag, True))
    _rest(process)
    for group in overdue:
        log = oracle.log(group)
        if log.is_overdue():
            oracle.fail("asks", f"{group} has no new snapshot: {log.snapshot}, {log.log_bytes}")


def _rest(process: Process) -> None:
    world = process.world
    process.task.pause("the companions", world.companions_rest)
    owed = world.asks().owed_by([companion.name for companion in world.companions])
    if owed:
        world.oracle.fail("asks", f"nobody has begun to make snapshots of {owed}")
