"""The names under which one client submits, and the one submission whose answer is still out.  Sans-IO.

A submission is named (session, seq).  Its content is frozen when it gets its name, so that sending it
again after a lost connection is the same submission, which the server takes at most once.

    idle --name--> named --(bytes leave)--> sent --answer--> idle
                   named --withdraw--> idle          (never left: nothing can have happened)
                                           sent --settle--> idle  (asked for its outcome)

There is at most one at a time: calls on one client take turns.  ``settled`` tells the server which
answers it may forget.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from score_server.wire.entry import SESSION_BYTES
from score_server.wire.messages import Submit

from .errors import InvalidNameError

_TOKEN = re.compile(rf"([0-9a-f]{{{2 * SESSION_BYTES}}})-([1-9][0-9]{{0,18}})")


@dataclass(slots=True)
class Submission:
    """A named change; all but *sent* is frozen.  *condition* is ``INTENT`` or ``STRICT``."""

    group: str
    seq: int
    settled: int
    seen: int
    condition: int
    payload: bytes
    sent: bool = False

    def message(self, channel: int) -> Submit:
        return Submit(channel, self.seq, self.settled, self.seen, self.condition, 0, self.payload)


class Session:
    """One client's session.  ``id`` is None until the server has issued one."""

    __slots__ = ("_seq", "id", "pending")

    def __init__(self) -> None:
        self.id: bytes | None = None
        self.pending: Submission | None = None
        self._seq = 0

    @property
    def settled(self) -> int:
        """Every answer up to this seq has been received."""
        return self._seq if self.pending is None else self._seq - 1

    def name(self, group: str, seen: int, condition: int, payload: bytes) -> Submission:
        """Give a change its name; it is then pending."""
        assert self.pending is None, "one submission at a time"
        settled = self._seq
        self._seq += 1
        self.pending = Submission(group, self._seq, settled, seen, condition, payload)
        return self.pending

    def answered(self) -> None:
        """The pending submission's answer, or its outcome, is known."""
        self.pending = None

    def withdraw(self) -> None:
        """Give up a pending submission that has not been sent; the seq is used again."""
        if self.pending is not None and not self.pending.sent:
            self.pending = None
            self._seq -= 1

    def token(self) -> str:
        """The text by which the pending submission's outcome can be asked for."""
        assert self.id is not None
        assert self.pending is not None
        return f"{self.id.hex()}-{self.pending.seq}"

    def expired(self) -> None:
        """The server does not know this session any more: the next submission opens a new one."""
        self.id = None
        self._seq = 0 if self.pending is None or self.pending.sent else 1
        if self.pending is not None and self.pending.sent:
            self.pending = None
        elif self.pending is not None:
            self.pending.seq, self.pending.settled = 1, 0


def parse_token(token: str) -> tuple[bytes, int]:
    """The (session, seq) that an ``OutcomeUnknown`` token stands for.

    Raises:
        InvalidNameError: not such a token.
    """
    match = _TOKEN.fullmatch(token) if isinstance(token, str) else None
    if match is None or int(match[2]) >= 2**63:
        raise InvalidNameError(
            f"{token!r} is not a token; pass the .token of an OutcomeUnknown as it is"
        )
    return bytes.fromhex(match[1]), int(match[2])
