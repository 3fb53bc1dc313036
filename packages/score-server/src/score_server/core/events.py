"""What the shell tells the core (events) and what the core asks of the shell (effects).

``Core.handle(event, now_ms)`` returns effects in the order in which they are to be done.  Output
is not an effect: ``Wake`` says that there is some, and the shell pulls it with ``Core.output`` when
the socket can take it.  So a slow reader costs no memory: its entries wait in the log.

*connection* is any number the shell chooses, never used twice.
"""

from __future__ import annotations

from typing import NamedTuple

from ..stores.base import Commit
from ..wire.messages import Message

# ---------------------------------------------------------------- events


class Connected(NamedTuple):
    connection: int


class Received(NamedTuple):
    """A message that the wire's state tables have let through."""

    connection: int
    message: Message


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


class ChainRead(NamedTuple):
    """The answer to ``ReadChain``."""

    group: str
    position: int
    chain: bytes | None


class Ticked(NamedTuple):
    """Time has passed: due at ``Core.next_deadline_ms()``, or at any other time."""


class Stopping(NamedTuple):
    """The server is to stop: answer what is committed, then say SHUTTING_DOWN to everybody."""


Event = (
    Connected | Received | Faulted | Disconnected | Committed | CommitFailed
    | SliceRead | ReadFailed | ChainRead | Ticked | Stopping
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


class ReadChain(NamedTuple):
    """Look up a chain for a resuming client; answer ChainRead."""

    group: str
    position: int


Effect = Wake | CloseAfterOutput | StartCommit | ReadSlice | ReadChain
