"""How a companion leaves the server to those who write meanwhile: it asks for a little, and rests in between.

A server reads a log with the thread that commits, and sends it with the one that answers.  Joining in the usual way,
it is asked for all of the log at once, and every change that comes meanwhile stands in line with that.  Nobody waits
for a snapshot.  So a companion asks for a piece, takes it in, and rests for a multiple of the time that this
took: it uses at most a part of what the server can do, whatever that is, and less of it the busier the server is.

All its rests together are bounded, and behind that it goes on without: a group that is written to faster than a
resting companion reads would otherwise have a log that grows from one snapshot to the next.
"""

from __future__ import annotations

from score_server.wire import messages as wire

from ..blocking import Deadline, Link
from ..client import Client, join
from .fold import Fold

# About what the server reads at a time.
PIECE_BYTES = 8 * 1024
# After t seconds of work come three times as many of rest.
REST_FACTOR, REST_S_MAX = 3, 0.25
# All rests of one snapshot.  A log of 100,000 changes takes about 4 s of them on a quiet machine.
RESTS_S_MAX = 10.0


class Pace:
    """The pace at which one snapshot is made; its work begins now."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._left_s = RESTS_S_MAX
        self._since = self._now()

    @property
    def may_rest(self) -> bool:
        """Whether there is any rest left."""
        return self._left_s > 0

    def rest(self, deadline: Deadline | None = None) -> None:
        """Rest from what was done since the last rest; not if half of a call's time, which ends at *deadline*, is gone."""
        left = None if deadline is None else deadline.remaining()
        if left is None or left > (self._client.timeout or 0) / 2:
            seconds = min(REST_FACTOR * (self._now() - self._since), REST_S_MAX, self._left_s)
            self._left_s -= seconds
            self._client.pause(seconds, self._client.deadline_after(None))
        self._since = self._now()

    def _now(self) -> float:
        now = self._client.deadline_after(0.0).at
        assert now is not None
        return now


class Reading:
    """Brings *fold* to where its group stood when it joined (or to where it is to stop), piece by piece.

    Each piece may take as long as a call of *client*.
    """

    def __init__(self, client: Client, fold: Fold) -> None:
        self._client = client
        self._fold = fold
        self._link: Link | None = None
        self._left = 0  # of the credit given on that link; below 0, what came beyond it

    def read(self, pace: Pace) -> None:
        """Read to the end.

        Raises:
            CannotApplyError: the group holds what this program does not know.
            ScoreError: others, by culprit.
        """
        is_there = False
        while pace.may_rest and not is_there:
            is_there = not self._client.perform(self._read_piece)
            if not is_there:
                pace.rest()
        if not is_there:  # also where no rest was left from the beginning
            self._client.sync(self._fold)
        if self._fold.failure is not None:
            raise self._fold.failure

    def _read_piece(self, link: Link, deadline: Deadline) -> bool:
        """Whether there may be more."""
        fold, conversation = self._fold, link.conversation
        channel = join(link, fold, deadline)
        if link is not self._link:
            self._link, self._left = link, 0
        if fold.is_there:
            return False
        conversation.send(wire.Credit(channel, PIECE_BYTES - self._left))
        self._left = PIECE_BYTES
        link.flush(deadline)
        while self._left > 0 and not fold.is_there:
            conversation.check(channel)  # what ended it may have come before
            before = conversation.entry_bytes
            link.receive(deadline)
            self._left -= conversation.entry_bytes - before
        return True
