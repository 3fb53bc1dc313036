"""The server in the simulation: the real core, store laws and wire, without sockets, threads and clock.

It does what ``shell/hub.py``, ``link.py`` and ``committer.py`` do, in steps between which the scheduler
may put anything else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from score_server.core import Core
from score_server.core.events import (
    CloseAfterOutput,
    CommitFailed,
    Committed,
    Connected,
    Disconnected,
    Effect,
    Event,
    Read,
    Received,
    StartCommit,
    Stopping,
    Ticked,
    Wake,
)
from score_server.shell.committer import Clerk
from score_server.stores.base import Commit, StoreBroken, StoreFull
from score_server.wire import connection as wire
from score_server.wire.errors import RemoteProtocolError
from score_server.wire.messages import SessionOpened, Submit
from score_server.wire.runs import Input, SubmitRun, TakenRun

from .companion import Asks
from .disk import SimStore
from .network import Connection

if TYPE_CHECKING:
    from .world import World

EVENTS_MAX = 64
RUN_MAX = 512
OUTPUT_BYTES = (1, 64, 256 * 1024)


class Peer:
    """One connection, from the server's side."""

    def __init__(self, connection: Connection, protocol: wire.Connection) -> None:
        self.connection = connection
        self.protocol = protocol
        self.closing = False
        self.session: bytes | None = None


class SimServer:
    """One run of the server process, from its start to its end."""

    def __init__(self, world: World) -> None:
        self._world = world
        world.oracle.server_starts()
        self.store = SimStore(world.disk, world.oracle.durable)
        self._clerk = Clerk(self.store)
        self.core = Core(
            self.store.load(), world.limits, world.new_id, "simulated", world.clock_ms()
        )
        self.asks = Asks(world.oracle, self.core) if world.companions else None
        self.peers: dict[int, Peer] = {}
        self.commit: StartCommit | None = None
        self.written = False
        self.reads: deque[Read] = deque()
        self.stopping = False
        self.woken: dict[int, None] = {}  # as the shell would: nobody else is asked for output

    # ------------------------------------------------------------ what the world does to it

    @property
    def listens(self) -> bool:
        return not self.stopping

    @property
    def ends(self) -> bool:
        """Whether this process is about to end."""
        return self.stopping

    def connected(self, connection: Connection) -> None:
        self.peers[connection.number] = Peer(
            connection, wire.Connection(wire.Role.SERVER, self._world.limits)
        )
        self._handle(Connected(connection.number))

    def reads_from(self, connection: Connection) -> bool:
        """Whether bytes of *connection* may be delivered now."""
        return connection.number in self.peers and not self.core.congested(connection.number)

    def receive(self, connection: Connection, data: bytes) -> None:
        """Bytes have arrived; none is the end."""
        peer = self.peers[connection.number]
        if not data:
            self._drop(peer)
            return
        if peer.closing:
            return
        peer.protocol.receive_data(data)
        while not peer.closing and (events := self._received(peer)):
            self._handle(*events)

    def _received(self, peer: Peer) -> list[Event]:
        events: list[Event] = []
        number = peer.connection.number
        try:
            while len(events) < EVENTS_MAX:
                message = peer.protocol.next_message_or_run(RUN_MAX)
                if isinstance(message, wire.Signal):
                    break
                if peer.session is not None:
                    self._note_submitted(peer.session, message)
                if self.asks is not None:
                    self.asks.heard(peer.connection, message)
                events.append(Received(number, message))
        except RemoteProtocolError as error:
            self._world.oracle.fail("protocol", f"a client broke the protocol: {error}")
        return events

    def _note_submitted(self, session: bytes, message: Input) -> None:
        for each in message.each() if isinstance(message, SubmitRun) else (message,):
            if isinstance(each, Submit):
                self._world.oracle.submitted(session, each)

    def possible_events(self) -> list[tuple[str, Callable[[], None]]]:
        """What could happen next in this process: (part, event)."""
        found: list[tuple[str, Callable[[], None]]] = []
        found += [("server", lambda n=n: self.flush(n)) for n in self.woken if self.has_output(n)]  # type: ignore[misc]
        if self.commit is not None or self.reads:
            found.append(("disk", self._disk_works))
        if self._world.clock_ms() >= self.core.next_deadline_ms():
            found.append(("server", self.tick))
        if self.stopping and self.core.stopped and not self.peers:
            found.append(("server", self._exit))
        return found

    def has_output(self, number: int) -> bool:
        """Whether that connection is owed something, and the kernel takes it (as of whoever is gone)."""
        if number not in self.woken:
            return False
        connection = self.peers[number].connection
        return connection.client_closed or connection.room > 0

    def next_moment(self) -> float:
        """When something is due here, as nothing can happen before."""
        wait_ms = self.core.next_deadline_ms() - self._world.clock_ms()
        return self._world.now + wait_ms / 1000

    def run_out_of_files(self, times: int) -> None:
        """Nobody accepts here."""

    def kill(self) -> None:
        """Nothing of this process is left to be unwound."""

    def last_checks(self) -> None:
        """Everything was checked on its way."""

    # ------------------------------------------------------------ steps

    def flush(self, number: int) -> None:
        """Send *number* some of what it is owed; close it after the last."""
        peer = self.peers[number]
        size = min(self._world.choose.choice(OUTPUT_BYTES), max(1, peer.connection.room))
        messages = self.core.output(number, size)
        self._do(self.core.take_effects())
        for message in messages:
            if type(message) is SessionOpened:
                peer.session = message.session
            if self.asks is not None:
                self.asks.told(peer.connection, message)
            for each in message.each() if isinstance(message, TakenRun) else (message,):
                self._world.oracle.answered(peer.session, number, each)
        if messages:
            peer.connection.to_client.put(peer.protocol.send(*messages))
            return
        if not self.core.has_output(number):
            self.woken.pop(number, None)
        if peer.closing:
            peer.connection.to_client.finish("eof")
            self._drop(peer)

    def _disk_works(self) -> None:
        what = self._work()
        self._world.note(f"disk: {what}")

    def _work(self) -> str:
        """The next step of the store's thread."""
        if self.commit is not None:
            return self._commit_step(self.commit)
        job = self.reads.popleft()
        self._handle(self._clerk.do(job))
        return f"read {job}"

    def _commit_step(self, commit: StartCommit) -> str:
        try:
            if not self.written:
                self.store.write(commit.batch)
                self.written = True
                return "write"
            self.store.sync()
        except StoreFull as error:
            self.commit = None
            self._world.oracle.write_failed(commit.batch)
            self._handle(CommitFailed(str(error)))
            return "write: full"
        except StoreBroken:
            self._world.crash_server()
            return "sync failed"
        self.commit, self.written = None, False
        self._handle(Committed(), batch=commit.batch)
        return "sync"

    def tick(self) -> None:
        self._handle(Ticked())

    def stop(self) -> None:
        self.stopping = True
        self._handle(Stopping())

    def _exit(self) -> None:
        self._world.note("the server has stopped")
        self.store.close()
        self._world.server_is_gone()

    # ------------------------------------------------------------ inside

    def _drop(self, peer: Peer) -> None:
        peer.connection.server_closed = True
        peer.connection.to_client.finish("reset")
        del self.peers[peer.connection.number]
        self.woken.pop(peer.connection.number, None)
        if self.asks is not None:
            self.asks.gone(peer.connection)
        self._handle(Disconnected(peer.connection.number))

    def _handle(self, *events: Event, batch: Commit | None = None) -> None:
        """*batch*: it has become durable with them."""
        self._do(self.core.handle_all(events, self._world.clock_ms()))
        self._check_residents()
        if self.asks is not None:
            self.asks.check(batch)

    def _check_residents(self) -> None:
        """A group is in memory while it is in use, and there is one of it."""
        core, fail = self.core, self._world.oracle.fail
        resident = core._residents.groups
        used = {cursor.group for peer in core._peers.values() for cursor in peer.cursors()}
        for group in used:
            if resident.get(group.name) is not group:
                fail("P4", f"channels are on a {group.name} that is not the one in memory")
        if core._sequencer.in_flight is None:
            idle = {
                g
                for g in resident.values()
                if g not in used and g.next_position == g.durable_head + 1
            }
            for group in idle:
                if group.damage is None and not group.deferred:
                    fail("protocol", f"{group.name} is in memory, and nobody uses it")

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Wake | CloseAfterOutput):
                if effect.connection in self.peers:
                    self.woken[effect.connection] = None
                    if isinstance(effect, CloseAfterOutput):
                        self.peers[effect.connection].closing = True
            elif isinstance(effect, StartCommit):
                assert self.commit is None, "two commits outstanding"
                self.commit, self.written = effect, False
            else:
                self.reads.append(effect)
