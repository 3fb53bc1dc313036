"""What the shell tells the core (events) and what the core asks of the shell (effects).

``Core.handle(event, now_ms)`` returns effects in the order in which they are to be done.  Output
is not an effect: ``Wake`` says that there is some, and the shell pulls it with ``Core.output`` when
the socket can take it.  So a slow reader costs no memory: its entries wait in the log.

*connection* is any number the shell chooses, never used twice.
"""

from __future__ import annotations

from typing import NamedTuple

from ..stores.base import Commit, GroupState
from ..wire.runs import Input

# ---------------------------------------------------------------- events


class Connected(NamedTuple):
    connection: int


class Received(NamedTuple):
    """A message, or a run of submissions, that the wire's state tables have let through."""

    connection: int
    message: Input


class Faulted(NamedTuple):
    """The peer broke the protocol (or a limit of the shell's): tell it and close."""

    connection: int
    code: int
    text: str


class Disconnected(NamedTuple):
    """The peer is gone, or the shell has closed it; nothing more can be sent."""

    connection: int


class Committed(NamedTuple):
    """The outstanding commit is durable."""


class CommitFailed(NamedTuple):
    """The outstanding commit failed cleanly: nothing of it has happened (disk full)."""

    text: str


class SliceRead(NamedTuple):
    """The answer to ``ReadSlice``: entries behind *after* as ``(position, encoded, chain)``."""

    group: str
    after: int
    entries: list[tuple[int, bytes, bytes]]


class ReadFailed(NamedTuple):
    """The store found *group* damaged (``text`` says where)."""

    group: str
    text: str


class LookedUp(NamedTuple):
    """The answer to ``LookUp``: *group* as it is stored (None: it is not), and the chain at *position*
    (None: no entry stands there, or it is gone)."""

    group: str
    position: int
    state: GroupState | None
    chain: bytes | None


class PageRead(NamedTuple):
    """The answer to ``ReadPage``."""

    connection: int
    request: int
    groups: list[GroupState]


class SnapshotRead(NamedTuple):
    """The answer to ``ReadSnapshot``; no *data* if that is not the group's snapshot any more."""

    group: str
    position: int
    offset: int
    data: bytes


class Ticked(NamedTuple):
    """Time has passed: due at ``Core.next_deadline_ms()``, or at any other time."""


class Stopping(NamedTuple):
    """The server is to stop: answer what is committed, then say SHUTTING_DOWN to everybody."""


Event = (
    Connected | Received | Faulted | Disconnected | Committed | CommitFailed
    | SliceRead | SnapshotRead | ReadFailed | LookedUp | PageRead | Ticked | Stopping
)  # fmt: skip

# ---------------------------------------------------------------- effects


class Wake(NamedTuple):
    """``Core.output(connection)`` has something to send."""

    connection: int


class CloseAfterOutput(NamedTuple):
    """Send what ``output`` still gives, then close the connection (and report Disconnected)."""

    connection: int


class StartCommit(NamedTuple):
    """Give *batch* to the store; at most one is outstanding; answer Committed or CommitFailed."""

    batch: Commit


class ReadSlice(NamedTuple):
    """Read a slice of the log; answer SliceRead or ReadFailed.  Never delays a commit by more than itself."""

    group: str
    after: int
    bytes_max: int


class ReadSnapshot(NamedTuple):
    """Read a part of a snapshot; answer SnapshotRead or ReadFailed."""

    group: str
    position: int
    offset: int
    bytes_max: int


class LookUp(NamedTuple):
    """Look up a group and the chain at a place in it; answer LookedUp or ReadFailed."""

    group: str
    position: int


class ReadPage(NamedTuple):
    """List at most *groups_max* groups behind the name *after*; answer PageRead."""

    connection: int
    request: int
    after: str
    groups_max: int


Read = ReadSlice | ReadSnapshot | LookUp | ReadPage
"""What the store is asked while it has nothing more urgent to do."""

Effect = Wake | CloseAfterOutput | StartCommit | Read
