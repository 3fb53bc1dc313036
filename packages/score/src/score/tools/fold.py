"""A replica of a group that may hold any kind of structure, and that can stop at a given place.

A program says what it expects (``SMap[str, int]``); a tool learns it: from the snapshot, or else from
the group's first change, which declares it.
"""

from __future__ import annotations

from typing import Any

from score_server.wire import codec
from score_server.wire.entry import decode_entry
from score_server.wire.messages import Joined
from ucore.dumps import kind_of
from ucore.ops import KINDS, OPERATIONS

from ..client import checked_name
from ..payload import PAYLOAD_DEPTH_MAX
from ..replica import Replica
from ..snapshot import Incoming, empty_of


class Fold(Replica):
    """See the module.  *until*: the position behind which nothing is taken in any more.

    Raises:
        InvalidNameError: *group* is not a group's name.
    """

    __slots__ = ("_announced", "_known")

    def __init__(self, group: str, *, keep: bool = False, until: int | None = None) -> None:
        super().__init__(checked_name(group), empty_of("map"), keep=keep, until=until)
        self._known = False
        self._announced: tuple[int, bytes | None] = (0, None)

    def joined(self, message: Joined) -> Incoming | None:
        """As ``Replica.joined``."""
        incoming = super().joined(message)
        if message.snapshot is not None:
            self._announced = (message.position, message.snapshot.digest)
        return incoming

    @property
    def is_there(self) -> bool:
        """Whether it has what there was when it joined, or stopped before that."""
        goal = self._goal if self.until is None else min(self._goal, self.until)
        return self.failure is not None or self.position >= goal

    def digest_here(self) -> bytes | None:
        """The digest of the snapshot that the server has of this very place, if this was loaded from it."""
        position, digest = self._announced
        return digest if position == self.position else None

    def become(self, dump: object) -> None:
        """As ``Replica.become``, whatever kind of structure *dump* is of."""
        self._begin_as(kind_of_dump(dump))
        super().become(dump)

    def receive_all(self, encoded: list[bytes]) -> None:
        """As ``Replica.receive_all``, whatever kind of structure they are for."""
        if encoded and not self._known:
            self._begin_as(kind_of_entry(encoded[0]))
        super().receive_all(encoded)

    def _begin_as(self, kind: str) -> None:
        if not self._known:
            self.tree = empty_of(kind)
            self._known = True


def kind_of_entry(encoded: bytes) -> str:
    """The kind of structure that a group's first entry is for: "map", "vec" or "stack".

    What cannot be read counts as "map": the replica that meets it stops there, and says why.
    """
    try:
        payload = decode_entry(encoded).payload
        plain: Any = codec.decode(payload, depth_max=PAYLOAD_DEPTH_MAX)
        op = plain[1]
        if op[0] == 0:
            return op[1][0] if op[1][0] in KINDS.values() else "map"
        return OPERATIONS[op[0]].kinds[0]
    except (codec.DecodeError, LookupError, TypeError):
        return "map"


def kind_of_dump(plain: Any) -> str:
    """The kind of structure that a dump is of; "map" if it is none."""
    return kind_of(plain) or "map"
