"""Following a group as it changes: ``watch`` and ``wait_for``.

A follower has a connection of its own, so that waiting never holds up the client's other calls; what it
receives is applied to the structure's replica, in the thread of its owner, which is waiting here.  The server may
send a bounded window of bytes ahead (credit).
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator
from types import TracebackType

from score_server.wire.messages import Credit

from .blocking import Deadline, Link
from .client import join
from .conversation import ConnectionLost
from .errors import DeadlineExceeded
from .forks import PROCESS
from .replica import Change, Feed, Replica
from .view import View

logger = logging.getLogger("score")

# Bytes of entries that the server may send ahead of what was applied.
CREDIT_BYTES = 1024 * 1024


class Follower:
    """Moves a view on as the group changes."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._link: Link | None = None
        self._generation = PROCESS.generation
        self._delays: Iterator[float] | None = None
        self._channel = 0
        self._credit_left = 0

    def advance(self, deadline: Deadline) -> None:
        """Wait until something came from the server, and apply it.

        Raises:
            DeadlineExceeded: nothing came in time.
            CannotApplyError, ScoreError: the view cannot go on.
        """
        view = self._view
        view.check()
        if view.replica.failure is not None:
            raise view.replica.failure
        try:
            self._receive(deadline)
        except ConnectionLost as lost:
            self.close()
            logger.warning("watch of group %r: %s; connecting again", view.group, lost)
            self._delays = self._delays or view.client.delays()
            view.client.pause(next(self._delays), deadline)
        except DeadlineExceeded:
            raise  # nothing came: the link stays as it is
        except BaseException:
            self.close()
            raise

    def _receive(self, deadline: Deadline) -> None:
        replica = self._view.replica
        if self._link is not None and (
            self._generation != PROCESS.generation  # the parent's socket stays the parent's
            or replica.suspect
            or self._link.conversation.is_behind_reset(replica)
        ):
            self.close()
        if self._link is None:
            position = replica.position
            self._connect(deadline)
            if replica.position != position:
                return  # a snapshot came along with the answer, and perhaps nothing more will
        assert self._link is not None
        link = self._link
        before = link.conversation.entry_bytes
        link.receive(deadline)
        link.conversation.poll(("", 0), self._channel)
        self._delays = None
        self._credit_left -= link.conversation.entry_bytes - before
        if self._credit_left < CREDIT_BYTES // 2:
            link.conversation.send(Credit(self._channel, CREDIT_BYTES - self._credit_left))
            self._credit_left = CREDIT_BYTES
            try:
                link.flush(deadline)
            except DeadlineExceeded:  # perhaps half a frame has left
                self.close()
                raise

    def _connect(self, deadline: Deadline) -> None:
        link = self._view.client.open_link(deadline)
        try:
            self._channel = join(link, self._view.replica, deadline)
            link.conversation.send(Credit(self._channel, CREDIT_BYTES))
            link.flush(deadline)
        except BaseException:
            link.close()
            raise
        self._link, self._credit_left, self._generation = link, CREDIT_BYTES, PROCESS.generation

    def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()


class Watch:
    """An iterator over the changes of a group from one position on; see ``Shared.watch``."""

    def __init__(self, view: View, timeout: float | None) -> None:
        self._view = view
        self._timeout = timeout
        self._follower = Follower(view)
        self._feed = Feed(view.replica.position)
        view.replica.feeds = [*view.replica.feeds, self._feed]
        # A loop over a watch that nobody else holds ends without a close().
        self._end = weakref.finalize(self, _end, self._follower, view.replica, self._feed)

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> Change:
        """The next change; ``StopIteration`` when none came for *timeout* seconds (a new loop over the
        same watch goes on where this one stopped)."""
        feed = self._feed
        deadline: Deadline | None = None  # most changes are here already
        while True:
            # Without a call and on one line, as nothing may come between taking a change and giving it.
            for change in feed.next: return change  # noqa: E701  # fmt: skip
            if feed.has_more():
                continue
            if not self._end.alive:
                raise StopIteration  # closed: nothing will come any more
            if deadline is None:
                deadline = self._view.client.deadline_within(self._timeout)
            try:
                self._follower.advance(deadline)
            except DeadlineExceeded:
                raise StopIteration from None

    def close(self) -> None:
        """Stop watching.  Idempotent."""
        self._end()

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _end(follower: Follower, replica: Replica, feed: Feed) -> None:
    follower.close()
    # A new list, since this may run (as a finalizer) while the old one is being read.
    replica.feeds = [other for other in replica.feeds if other is not feed]
