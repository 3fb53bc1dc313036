"""A group as the server keeps it, byte for byte, over a connection of its own: nothing is folded.

    with RawLog(client, "stock") as log:
        for piece in log.snapshot(): ...
        for entries in log.entries(): ...      # up to the head as it is then
        for entries in log.entries(): ...      # what has come since
        for entries in log.follow(): ...       # as they come

Both are checked as they come: the snapshot by its digest, entries by the place of each.  So tools can read groups
whose types this process does not know.  Memory holds what one read from the socket brings.  A lost
connection ends it (``ConnectionFailed``): what was read so far is a true beginning.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from score_server.wire import messages as wire
from score_server.wire.entry import decode_entry, next_chain
from score_server.wire.errors import RemoteProtocolError

from .blocking import Deadline
from .client import Client, checked_name
from .conversation import ConnectionLost
from .errors import ConnectionFailed
from .snapshot import Incoming, announced

# Bytes of entries that the server may send ahead while they are followed.
CREDIT_BYTES = 1024 * 1024


class Raw:
    """What stands for a replica on the channel: it passes on what comes, in order.  Sans-IO.

    Attributes:
        position, chain: the place that what has come reaches.
        incarnation: which group of this name it is.
        info: the snapshot that it begins with, and *begin* its position; None and 0 without one.
    """

    keep = False
    resets = 0

    def __init__(self, group: str) -> None:
        self.group = group
        self.incarnation = self.chain = b""
        self.position = 0
        self.begin = 0
        self.info: wire.SnapshotInfo | None = None
        self.pieces: deque[bytes] = deque()
        self.runs: deque[list[bytes]] = deque()
        self.is_loaded = False

    def resume(self) -> wire.Resume | None:
        """The beginning of the log, once it is known which group this is: so a log that was never trimmed
        comes whole, and not as a snapshot."""
        return wire.Resume(self.incarnation, 0, self.incarnation) if self.incarnation else None

    def joined(self, message: wire.Joined) -> Incoming | None:
        self.incarnation = self.chain = message.incarnation
        self.begin, self.info = message.position, message.snapshot
        if message.snapshot is None and message.position:
            raise RemoteProtocolError(
                wire.OUT_OF_ORDER, "a fresh join is answered as a resumed one"
            )
        self.is_loaded = message.snapshot is None
        self.position = 0
        self.pieces.clear()  # of an earlier answer
        return announced(message)

    def receive_chunk(self, incoming: Incoming, offset: int, data: bytes) -> None:
        self.is_loaded = incoming.check(offset, data)
        self.pieces.append(data)
        if self.is_loaded:
            self.position, self.chain = incoming.position, incoming.chain

    def receive_all(self, encoded: list[bytes]) -> None:
        for one in encoded:
            try:
                entry = decode_entry(one)
            except ValueError as error:
                raise RemoteProtocolError(wire.MALFORMED, f"not an entry: {error}") from error
            if entry.predecessor != self.position:
                text = f"entry {entry.position} does not follow position {self.position}"
                raise RemoteProtocolError(wire.OUT_OF_ORDER, text)
            self.position, self.chain = entry.position, next_chain(self.chain, one)
        self.runs.append(encoded)


class RawLog:
    """See the module.  Every step takes at most the time that a call of *client* may take."""

    def __init__(self, client: Client, group: str, *, history: bool = False) -> None:
        """Join *group*.

        *history*: begin with the first change, and not with the snapshot, if the log has all of them.

        Raises:
            ConnectionFailed, DeadlineExceeded, ScoreError: as named.
        """
        self.raw = Raw(checked_name(group))
        self._client = client
        self._link = client.open_link(client.deadline_within(client.timeout))
        try:
            self._channel = self._join()
            if history and self.raw.info is not None:
                self._link.conversation.leave(self.raw)
                self._channel = self._join()
        except BaseException:
            self.close()
            raise

    def _join(self) -> int:
        channel = self._link.conversation.join(self.raw)
        with self._step() as deadline:
            self._link.ask(("joined", channel), deadline, channel)
        return channel

    def snapshot(self) -> Iterator[bytes]:
        """The pieces of the snapshot, if there is one; the last one only after the whole proved right."""
        raw = self.raw
        while raw.pieces or not raw.is_loaded:
            if not raw.pieces:
                with self._step() as deadline:
                    self._receive(deadline)
            while raw.pieces:
                yield raw.pieces.popleft()

    def entries(self) -> Iterator[list[bytes]]:
        """The entries from here to the durable head as it is now, some at a time.  (What was not read of
        the snapshot is passed over.)"""
        for _ in self.snapshot():
            pass
        conversation = self._link.conversation
        number = conversation.next_number()
        conversation.send(wire.Sync(self._channel, number))
        while True:
            with self._step() as deadline:
                self._link.flush(deadline)
                if conversation.poll(("request", number), self._channel) is not None:
                    break
                self._receive(deadline)
            yield from self._taken()
        yield from self._taken()

    def follow(self) -> Iterator[list[bytes]]:
        """Entries as they come, without end; only ``client.deadline`` ends the waiting."""
        conversation = self._link.conversation
        left = 0
        while True:
            if left < CREDIT_BYTES // 2:
                conversation.send(wire.Credit(self._channel, CREDIT_BYTES - left))
                left = CREDIT_BYTES
                with self._step() as deadline:
                    self._link.flush(deadline)
            before = conversation.entry_bytes
            with self._step(self._client.deadline_within(None)) as deadline:
                self._receive(deadline)
            left -= conversation.entry_bytes - before
            yield from self._taken()

    def close(self) -> None:
        """End the connection.  Idempotent."""
        self._link.close()

    def __enter__(self) -> RawLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _receive(self, deadline: Deadline) -> None:
        self._link.receive(deadline)
        self._link.conversation.poll(("", 0), self._channel)  # an error on the channel

    def _taken(self) -> Iterator[list[bytes]]:
        while self.raw.runs:
            yield self.raw.runs.popleft()

    @contextmanager
    def _step(self, deadline: Deadline | None = None) -> Iterator[Deadline]:
        try:
            yield deadline or self._client.deadline_within(self._client.timeout)
        except ConnectionLost as lost:
            raise ConnectionFailed(
                f"group {self.raw.group!r}: the connection was lost while it was read ({lost}); read it again"
            ) from lost
