"""One seeded run: the scheduler, the faults, and the clock that moves only when they say so.

The run is a loop: list everything that could happen next, let the seed choose one, do it, check.  Which
kinds of faults a seed has at all, how often they come and how eager each part is, is drawn first (swarm
testing: a run with few kinds of faults reaches states that a run with all of them never does).

When all programs have done their part, or enough has happened, faults stop (*healing*): disks have
room, dead connections are noticed, the server is up; then everybody must come to the end, and agree.
"""

from __future__ import annotations

import gc
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from score.tools import compaction
from score_server.core import core, feed, outgoing
from score_server.core import group as groups
from score_server.core.cursor import Cursor
from score_server.shell import endpoint, hub, sweeper, transport
from score_server.shell.server import Clock
from score_server.shell.sweeper import Swept
from score_server.wire.limits import Limits

from . import rests
from .companion import Asks, Companion, settle
from .disk import Disk
from .network import Connection
from .oracle import Oracle, Violation
from .plans import make_plans
from .recorded import judge
from .server import SimServer
from .shell import ShellServer, simulated_shell
from .workload import Process

FAULTS = (
    "cut", "half-open", "stall", "server-crash", "server-stop", "client-crash", "fsync", "full", "rot",
    "clock", "restore",
)  # fmt: skip
# What only a shell can meet.
SHELL_FAULTS = (*FAULTS, "accept")
# How much the server's kernel takes for a connection before its client has read it.
WINDOW_BYTES = (100, 2_000, 64 * 1024)
BOUNDS: dict[tuple[Any, str], tuple[float | None, ...]] = {
    (groups, "RECENT_BYTES_MAX"): (None, 300, 1),
    (feed, "RECENT_BYTES_TOTAL_MAX"): (None, None, 500),
    (feed, "SLICES_TOTAL_MAX"): (None, None, 1),
    (feed, "PART_BYTES_MAX"): (None, 100, 30),
    (core, "ANSWERS_MAX"): (None, None, 2),
    (groups, "TAIL_BYTES_MIN"): (None, 300),
    (compaction, "TAIL_BYTES_MIN"): (None, 300),
    (compaction, "CHUNK_BYTES"): (64, 64, 20),
    (outgoing, "AHEAD_MIN"): (None, 1, 3),
}
# How many make snapshots when asked, and when that is: after a few changes.
COMPANIONS = (0, 0, 0, 0, 0, 0, 1, 2)
COMPANIONS_BOUNDS: dict[tuple[Any, str], tuple[float, ...]] = {
    (groups, "TAIL_BYTES_MIN"): (150, 300, 500),
    (groups, "TAIL_PER_SNAPSHOT"): (2, 2, 1),
    (compaction, "TAIL_BYTES_MIN"): (150, 300),
    (compaction, "TAIL_FACTOR"): (2, 1),
}
SHELL_BOUNDS: dict[tuple[Any, str], tuple[float | None, ...]] = {
    (hub, "TICK_S_MAX"): (
        0.1,
    ),  # leases are of milliseconds here, so their ends are to be noticed early
    (hub, "FOLLOWERS_AT_ONCE"): (None, 1),
    (hub, "FOLLOWERS_PER_ANSWER"): (None, 1),
    (hub, "OUTPUT_BYTES"): (None, 64, 256),
    (endpoint, "EVENTS_MAX"): (None, None, 1),
    (sweeper, "RECEIVE_BYTES"): (None, None, 10),
    (transport, "RECEIVE_BYTES"): (None, None, 10),
}
EVENTS_FAULTY_MAX = 4_000
EVENTS_HEALING_MAX = 12_000
HELD_STEPS_MAX = 100
RETENTION_S = 3600
STEPS_PATIENT = 5_000  # no call of a few clients takes that many
EPOCH_MS = 1_700_000_000_000


@dataclass(frozen=True)
class Options:
    """Which layer runs, and what a replay leaves out: kinds of faults, and operations as (client, index)."""

    shell: bool = False  # the server's real shell, instead of its steps one at a time
    without: frozenset[str] = frozenset()
    dropped: frozenset[tuple[int, int]] = frozenset()


class World:
    """Everything in one run."""

    def __init__(self, seed: int, options: Options, *, verbose: bool = False) -> None:
        self.seed = seed
        self.verbose = verbose
        self.trace: list[str] = []
        swarm = random.Random(f"{seed}/swarm")
        self.choose = random.Random(f"{seed}/choose")
        self._ids = random.Random(f"{seed}/ids")
        count = swarm.choice((0, 1, 1, 2, 2, 3, 4, len(FAULTS)))
        drawn = swarm.sample(SHELL_FAULTS if options.shell else FAULTS, count)
        if "clock" in drawn and random.Random(f"{seed}/clock").random() < 0.5:
            drawn.append(
                "client-crash"
            )  # what has expired shows where somebody died with a session
        self.faults = frozenset(drawn) - options.without
        self.fault_rate = swarm.choice((0.003, 0.01, 0.03))
        self.timeout_s = swarm.choice((1.0, 3.0, 10.0))
        self.step_s = swarm.choice((0.0005, 0.002, 0.02))
        # Nothing fails, and there is time: then nothing may time out.
        self.calm = self.faults <= {"clock"} and self.timeout_s / self.step_s >= STEPS_PATIENT
        # How eager each part is, against the others.
        self.eagerness = {
            part: swarm.choice((0.1, 1.0, 1.0, 5.0))
            for part in ("to server", "to client", "server", "disk", "client")
        }
        # Bounds of the server's memory, small enough to be met: (module, name) -> value.
        self.bounds = {place: swarm.choice(values) for place, values in BOUNDS.items()}
        self.split = swarm.choice((0.0, 0.2, 0.9))
        self.limits = Limits(
            retention_s=RETENTION_S,
            turn_lease_ms=100,
            pinned_max=swarm.choice((1024, 1024, 1024, 2)),
        )
        self.window = swarm.choice(WINDOW_BYTES)
        self.is_inline = swarm.random() < 0.25  # a store that never waits
        self.has_epoll = swarm.random() < 0.75
        if options.shell:
            self.bounds |= {place: swarm.choice(values) for place, values in SHELL_BOUNDS.items()}
        self.now = 0.0
        self.clock_offset_ms = 0
        self.healing = False
        self._clock: Clock | None = None
        self._server_type: type[SimServer | ShellServer] = (
            ShellServer if options.shell else SimServer
        )
        self.server: SimServer | ShellServer | None = None
        self.server_back_at = 0.0
        self.disk = Disk(sealed=random.Random(f"{seed}/disk").random() < 0.5)
        self.backup: bytes | None = None
        self.oracle = Oracle()
        self.oracle.retention_ms = RETENTION_S * 1000
        # So few pins that the oldest outcomes are forgotten: "expired" then, never a wrong answer.
        self.oracle.forgets = self.limits.pinned_max < 1024
        self.oracle.answers_wait = options.shell
        self.connections: dict[int, Connection] = {}
        self._last_connection = 0
        self.known_names: set[tuple[bytes, int]] = set()
        self.waiting_to_begin: dict[int, float] = {}
        plans = make_plans(seed)
        self.plan_size = {client: len(plan) for client, plan in enumerate(plans)}
        self._groups = sorted({op.group for plan in plans for op in plan})
        self.spoilt: set[str] = set()  # groups of which somebody has offered a wrong snapshot
        self._kept = swarm.choice((None, None, None, None, None, self._groups[0]))
        # How often a process does not go on at once: then more has arrived when it does.
        self.sluggishness = swarm.choice((0.0, 0.0, 0.1, 0.3))
        self.processes = [
            Process(
                self,
                client,
                [None if (client, i) in options.dropped else op for i, op in enumerate(plan)],
            )
            for client, plan in enumerate(plans)
        ]
        choose = random.Random(f"{seed}/rests")
        self.bounds |= {place: choose.choice(values) for place, values in rests.BOUNDS.items()}
        self.companions: list[Companion] = []
        self.is_settled = True
        if not options.shell:
            self._add_companions(random.Random(f"{seed}/companions"))

    def _add_companions(self, choose: random.Random) -> None:
        count = choose.choice(COMPANIONS)
        if count:
            self.is_settled = False
            self.bounds |= {
                place: choose.choice(values) for place, values in COMPANIONS_BOUNDS.items()
            }
            first = len(self.processes)
            self.companions = [Companion(self, first + number) for number in range(count)]

    @property
    def everybody(self) -> list[Process]:
        return [*self.processes, *self.companions]

    # ------------------------------------------------------------ for the parts

    def note(self, text: str) -> None:
        line = f"{self.now:9.4f} {text}"
        self.trace.append(line)
        if self.verbose:
            print(line)

    def clock_ms(self) -> int:
        """The server's clock."""
        assert self._clock is not None
        now = self._clock()
        self.oracle.clock_ms = max(self.oracle.clock_ms, now)
        return now

    def _wall_ns(self) -> int:
        return (EPOCH_MS + self.clock_offset_ms) * 1_000_000 + int(self.now * 1e9)

    def new_id(self) -> bytes:
        return self._ids.randbytes(16)

    def groups(self) -> list[str]:
        """The groups that are whole."""
        return [group for group in self._groups if group not in self.disk.rotten]

    def damaged_groups(self) -> list[str]:
        """The others: they are refused, or go on for those who need nothing of what is damaged."""
        return [group for group in self._groups if group in self.disk.rotten]

    def keeps(self, group: str) -> bool:
        """Whether *group* is made to keep its history."""
        return group == self._kept

    def all_at_barrier(self) -> bool:
        return all(process.is_at_barrier for process in self.processes)

    # ------------------------------------------------------------ companions

    def asks(self) -> Asks:
        """What the server has asked for; it is there."""
        assert isinstance(self.server, SimServer), "companions are of the first layer"
        assert self.server.asks is not None, "there are companions"
        return self.server.asks

    def companions_rest(self) -> bool:
        """Whether all of them wait to be asked, and nobody is about to ask."""
        server = self.server
        if not isinstance(server, SimServer) or server.commit is not None:
            return False
        if not all(
            c.is_at_rest() and c.number not in self.waiting_to_begin for c in self.companions
        ):
            return False
        labels = {companion.name for companion in self.companions}
        return not any(
            connection.is_moving or server.has_output(connection.number)
            for connection in self.connections.values()
            if connection.label in labels
        )

    def settle(self, process: Process) -> None:
        """*process* sees to it that those who make snapshots have come to rest."""
        if self.companions:
            settle(process)
            self.is_settled = True

    def connect(self, process: Process) -> Connection | None:
        """A new connection, or None if nobody listens."""
        if self.server is None or not self.server.listens:
            return None
        self._last_connection += 1
        connection = Connection(self._last_connection, process.name, process.window)
        self.connections[connection.number] = connection
        self.server.connected(connection)
        return connection

    def dies_while_sending(self, process: Process) -> bool:
        if process.doomed_sends:
            process.doomed_sends -= 1
            return process.doomed_sends == 0
        return False

    # ------------------------------------------------------------ the loop

    def run(self) -> None:
        """To the end.  Raises Violation."""
        self.start_server()
        events = 0
        while self.waiting_to_begin or not all(p.task.done for p in self.processes):
            events += 1
            if not self.healing and (events > EVENTS_FAULTY_MAX or self._all_wait_for_healing()):
                self.heal()
                events = 0
            if self.healing and events > EVENTS_HEALING_MAX:
                waits = {p.name: p.task.waits_for for p in self.processes if not p.task.done}
                self.oracle.fail("P8", f"no end in sight; these wait: {waits}")
            self.step()
        self.last_checks()

    def step(self) -> None:
        """One event."""
        self.now += self.choose.random() * self.step_s
        self.oracle.now = self.now
        if not self.healing and self.faults and self.choose.random() < self.fault_rate:
            self.fault()
            return
        events = self.possible_events()
        if not events:
            self.now = max(self.now, self.next_moment())
            return
        weights = [self.eagerness[part] for part, _ in events]
        _, event = self.choose.choices(events, weights)[0]
        event()

    def possible_events(self) -> list[tuple[str, Callable[[], None]]]:
        """What could happen next, in an order that depends on nothing but the run."""
        found: list[tuple[str, Callable[[], None]]] = []
        server, now = self.server, self.now
        for connection in self.connections.values():
            if connection.heals_at is not None and now >= connection.heals_at:
                connection.heal()
            if connection.takes_more and connection.to_client.has_news(now):
                found.append(("to client", lambda c=connection: self.to_client(c)))  # type: ignore[misc]
            if (
                server is not None
                and connection.to_server.has_news(now)
                and server.reads_from(connection)
            ):
                found.append(("to server", lambda c=connection: self.to_server(c)))  # type: ignore[misc]
        if server is not None:
            found += server.possible_events()
        elif now >= self.server_back_at:
            found.append(("server", self.start_server))
        for process in self.everybody:
            task = process.task
            if process.number in self.waiting_to_begin:
                if now >= self.waiting_to_begin[process.number]:
                    found.append(("client", lambda p=process: self.begin_again(p)))  # type: ignore[misc]
            elif (
                not task.done
                and now >= process.held_until
                and (task.ready() or (task.until is not None and now >= task.until))
            ):
                found.append(("client", lambda p=process: self.resume(p)))  # type: ignore[misc]
        return found

    def next_moment(self) -> float:
        """When something is due, as nothing can happen before."""
        moments: list[float] = []
        for connection in self.connections.values():
            pipes = (connection.to_client, connection.to_server)
            moments += [moment for pipe in pipes for moment in (pipe.stalled_until, pipe.ends_at)]
            moments += [connection.heals_at or 0.0]
        for process in self.everybody:
            if process.number in self.waiting_to_begin:
                moments.append(self.waiting_to_begin[process.number])
            elif not process.task.done:
                moments.append(process.held_until)
                if process.task.until is not None:
                    moments.append(max(process.held_until, process.task.until))
        if self.server is None:
            moments.append(self.server_back_at)
        else:
            moments.append(self.server.next_moment())
        later = [moment for moment in moments if moment > self.now]
        if not later:
            if self.healing:
                waits = {p.name: p.task.waits_for for p in self.processes if not p.task.done}
                self.oracle.fail("P8", f"nothing can happen any more; these wait: {waits}")
            return self.now + 1.0
        return min(later)

    # ------------------------------------------------------------ events

    def resume(self, process: Process) -> None:
        process.task.resume()
        if process.sluggishness and self.choose.random() < process.sluggishness:
            process.held_until = self.now + self.choose.random() * self.step_s * HELD_STEPS_MAX
        process.check_views()
        if process.task.error is not None:
            error = process.task.error
            if isinstance(error, Violation):
                raise error
            text = f"{process.name} raised {type(error).__name__}: {error}"
            raise Violation("protocol", text) from error
        if process.task.killed:
            self.client_died(process)

    def to_client(self, connection: Connection) -> None:
        connection.arrive(self.piece(len(connection.to_client.data)))

    def to_server(self, connection: Connection) -> None:
        assert self.server is not None
        pipe = connection.to_server
        size = self.piece(len(pipe.data))
        data = bytes(pipe.data[:size])
        del pipe.data[:size]
        self.server.receive(connection, data)
        if not data:
            self.forget_if_over(connection)

    def piece(self, size: int) -> int:
        """How many of *size* bytes arrive together."""
        if size and self.choose.random() < self.split:
            return self.choose.randrange(1, size + 1)
        return size

    def start_server(self) -> None:
        self.note("the server starts")
        self._clock = Clock(self._wall_ns, lambda: int(self.now * 1e9))
        self.server = self._server_type(self)

    def crash_server(self) -> None:
        assert self.server is not None
        self.note("the server crashes")
        self.server.kill()
        self.disk.crash(self.choose)
        self.disk.fails_to_sync = False
        self.server_is_gone()

    def server_is_gone(self) -> None:
        self.server = None
        self.server_back_at = self.now + self.choose.random() * self.choose.choice((0.01, 1.0))
        for connection in self.connections.values():
            connection.server_closed = True
            connection.to_server.cut(0)
            if not connection.to_client.swallows:
                connection.cut(self.choose)
        for number in list(self.connections):
            self.forget_if_over(self.connections[number])

    def forget_if_over(self, connection: Connection) -> None:
        if connection.over:
            del self.connections[connection.number]

    def client_died(self, process: Process) -> None:
        self.note(f"{process.name} is killed")
        process.died()
        self.waiting_to_begin[process.number] = self.now + self.choose.random()

    def begin_again(self, process: Process) -> None:
        del self.waiting_to_begin[process.number]
        process.begin_life()

    # ------------------------------------------------------------ faults

    def fault(self) -> None:
        """One of the faults that this seed has."""
        kind = self.choose.choice(sorted(self.faults))
        self.note(f"fault: {kind}")
        _FAULTS[kind](self)

    def _some_connection(self) -> Connection | None:
        live = [c for c in self.connections.values() if not c.client_closed]
        return self.choose.choice(live) if live else None

    def _cut(self) -> None:
        sending = [c for c in self.connections.values() if c.to_server.data]
        if sending and self.choose.random() < 0.5:
            # The client learns of it at once; what it had sent arrives late, perhaps after it has
            # connected again, and the server learns of the end later still.
            connection = self.choose.choice(sending)
            connection.to_client.cut(self.choose.randrange(len(connection.to_client.data) + 1))
            connection.to_server.swallows = True
            connection.to_server.stalled_until = self.now + self.choose.random() * 2
            connection.heals_at = connection.to_server.stalled_until + self.choose.random() * 2
        elif (some := self._some_connection()) is not None:
            some.cut(self.choose)

    def _half_open(self) -> None:
        connection = self._some_connection()
        if connection is not None:
            connection.half_open(self.choose, self.now + self.choose.random() * 20)

    def _stall(self) -> None:
        sending = [c for c in self.connections.values() if c.to_server.data and not c.client_closed]
        some = self.choose.choice(sending) if sending else self._some_connection()
        if some is not None:
            pipe = self.choose.choice((some.to_server, some.to_client))
            pipe.stalled_until = self.now + self.choose.random() * self.choose.choice((0.1, 5.0))

    def _crash_server(self) -> None:
        if self.server is not None:
            self.crash_server()

    def _stop_server(self) -> None:
        if self.server is not None and not self.server.stopping:
            self.server.stop()

    def _crash_client(self) -> None:
        live = [p for p in self.everybody if not p.task.done]
        if not live:
            return
        process = self.choose.choice(live)
        if self.choose.random() < 0.5:
            process.doomed_sends = self.choose.randrange(1, 4)
        else:
            process.task.kill()
            self.client_died(process)

    def _run_out_of_files(self) -> None:
        if self.server is not None:
            self.server.run_out_of_files(self.choose.randrange(1, 4))

    def _fail_fsync(self) -> None:
        self.disk.fails_to_sync = True

    def _fill(self) -> None:
        self.disk.full = not self.disk.full

    def _rot(self, *, only_snapshots: bool = False) -> None:
        rot = self.disk.rot(self.choose, only_snapshots=only_snapshots)
        self.note(f"rot: {rot}")
        if rot is not None and rot.is_snapshot and not self.disk.sealed:
            log = self.oracle.log(rot.group)
            assert log.snapshot is not None, "the disk has one"
            log.spoilt.add(log.snapshot.state.position)
            self.oracle.spoilt.add(rot.group)

    def _jump(self) -> None:
        hours = self.choose.choice((-3, -3, -0.5, 0.4, 0.9, 1.5))
        self.clock_offset_ms += int(hours * 3_600_000)

    def _restore(self) -> None:
        """Make a backup, or go back to the one there is."""
        if self.backup is None:
            self.backup = self.disk.backup()
        else:
            if self.server is not None:
                self.crash_server()
            self.note("the store is replaced by a backup")
            self.disk.restore(self.backup)
            self.oracle.restored()
            self.backup = None

    # ------------------------------------------------------------ the end

    def _all_wait_for_healing(self) -> bool:
        return all(
            process.task.done or process.task.waits_for == "the end of the faults"
            for process in self.processes
        )

    def heal(self) -> None:
        """Faults are over."""
        if "rot" in self.faults and self.choose.random() < 0.5:
            self._rot(only_snapshots=True)  # most of them are made late
        self.note("faults stop")
        self.healing = True
        self.disk.full = self.disk.fails_to_sync = False
        self.step_s = min(self.step_s, self.timeout_s / STEPS_PATIENT)
        if self.server is not None and self.server.ends:
            self.crash_server()
        if self.server is None:
            self.start_server()
        assert self.server is not None
        self.server.run_out_of_files(0)
        for connection in self.connections.values():
            connection.heal()
            for pipe in (connection.to_client, connection.to_server):
                pipe.stalled_until = pipe.ends_at = 0.0
        for process in self.everybody:
            process.doomed_sends = 0
            if process.number in self.waiting_to_begin:
                self.waiting_to_begin[process.number] = self.now

    def last_checks(self) -> None:
        """What must hold at the end, also to the eyes of the history checker."""
        oracle = self.oracle
        oracle.last_word()
        for process in self.processes:
            for group in self.groups():
                if process.was_refused:
                    continue  # what it cannot settle keeps it from going on
                structure, log = process.structures[group], oracle.log(group)
                if structure.position != log.head:
                    oracle.fail(
                        "P8", f"{process.name}'s {group} is at {structure.position}, not {log.head}"
                    )
        for call in oracle.calls:
            if call.state in ("unknown", "died") and call.names and call.era == oracle.era:
                name = call.names[-1]
                if name not in oracle.where and name not in oracle.noes:
                    if name[0] in oracle.last_used_ms and not (
                        "clock" in self.faults or oracle.forgets
                    ):
                        oracle.fail("P7", f"{oracle.tell(call)} was never resolved")

        if not (oracle.era or oracle.deletions or oracle.imports):  # one history for each name
            judge(self)
        if self.server is not None:
            self.server.last_checks()

    def end(self) -> None:
        """Unwind what still runs."""
        if self.server is not None:
            self.server.kill()
        for process in self.everybody:
            if not process.task.done:
                process.task.kill()


_FAULTS: dict[str, Callable[[World], None]] = {
    "cut": World._cut,
    "half-open": World._half_open,
    "stall": World._stall,
    "server-crash": World._crash_server,
    "server-stop": World._stop_server,
    "client-crash": World._crash_client,
    "accept": World._run_out_of_files,
    "fsync": World._fail_fsync,
    "full": World._fill,
    "rot": World._rot,
    "clock": World._jump,
    "restore": World._restore,
}


@contextmanager
def _counted() -> Iterator[None]:
    """Sets of these are gone through, in the order of their hashes: by number, not by address."""
    hashed: dict[Any, Callable[[Any], int]] = {
        Cursor: lambda cursor: hash((cursor.peer.number, cursor.channel)),
        Swept: lambda swept: swept.number,
    }
    try:
        for kind, number in hashed.items():
            kind.__hash__ = number
        yield
    finally:
        for kind in hashed:
            del kind.__hash__


@contextmanager
def _bounded(bounds: dict[tuple[Any, str], float | None]) -> Iterator[None]:
    before = {place: getattr(*place) for place in bounds}
    try:
        for (module, name), value in bounds.items():
            if value is not None:
                setattr(module, name, value)
        yield
    finally:
        for (module, name), value in before.items():
            setattr(module, name, value)


def run(seed: int, options: Options = Options(), *, verbose: bool = False) -> World:
    """Run *seed* to its end; the world as it was then.

    Raises:
        Violation: a promise was broken; ``world`` is the run, ``trace`` what happened.
    """
    # What the shell logs is read by the second layer.
    loggers = [logging.getLogger(name) for name in ("score", "score_server")[: 2 - options.shell]]
    were_disabled = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    was_collecting = gc.isenabled()
    gc.disable()
    world = World(seed, options, verbose=verbose)
    shell = simulated_shell(world) if options.shell else nullcontext()
    try:
        with _counted(), _bounded(world.bounds), shell, rests.watched(world):
            try:
                world.run()
            finally:
                world.end()
    except Violation as violation:
        violation.world = world
        raise
    except Exception as error:
        broken = Violation("protocol", f"the server raised {type(error).__name__}: {error}")
        broken.world = world
        raise broken from error
    finally:
        for logger, was_disabled in zip(loggers, were_disabled, strict=True):
            logger.disabled = was_disabled
        if was_collecting:
            gc.enable()
    return world
