"""Turns: who may change a group alone for a moment, after having been refused.

Why.  A strict change is refused whenever anybody was faster, so with many writers the near and the quick
win again and again and the others starve.  A client that was refused may ask for a turn.  Turns
are granted in the order in which they were asked for, one at a time; while one lasts, submissions
of others to this group are *parked*, neither judged nor refused.  It ends with the holder's
submission, when the holder gives it back or goes, or when its lease is over; then what was
parked is judged, in order, and the next turn begins.

So nobody starves (a queue), a dead holder costs the others one lease, and intents, which need no
turn, wait at most that long.  A turn is a courtesy, not a lock: after its lease the holder's
submission is judged like any other.

Who is next in line is sent what it lacks while the turn before its own lasts (``Outgoing.send_ahead``):
what the others wait for is then only what it does with its turn, not what it has missed before.

Rejected: telling the others "not now, come again" (their polling would cost what it saves); turns for
one key (the server does not look into changes).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

G = TypeVar("G", bound=Hashable)
P = TypeVar("P")


class Asked(NamedTuple):
    """A turn asked for on a channel, by a request of that number."""

    connection: int
    channel: int
    request: int


class Turns(Generic[P]):
    """One group's turns.  *P* is whatever the core parks."""

    __slots__ = ("holder", "line", "parked", "until_ms")

    def __init__(self) -> None:
        self.holder: tuple[int, int] | None = None  # (connection, channel)
        self.until_ms = 0
        # By (connection, channel): many may wait, and leaving must not cost a walk along the line.
        self.line: OrderedDict[tuple[int, int], Asked] = OrderedDict()
        self.parked: deque[tuple[int, P]] = deque()  # (connection, what it submitted)

    @property
    def idle(self) -> bool:
        """Nothing here that would have to be remembered."""
        return self.holder is None and not self.line and not self.parked

    def ask(self, asked: Asked) -> bool:
        """Put *asked* at the end of the line; False if that channel waits already."""
        place = (asked.connection, asked.channel)
        if place in self.line:
            return False
        self.line[place] = asked
        return True

    def holds_up(self, connection: int, channel: int) -> bool:
        """Whether a submission on that channel has to be parked now."""
        if self.holder is not None:
            return self.holder != (connection, channel)
        # What this connection submitted before is still parked: its order is kept.
        return any(parked == connection for parked, _ in self.parked)

    def grant(self, now_ms: int, lease_ms: int) -> Asked | None:
        """Begin the next turn, if none lasts, nobody is parked and somebody waits for one."""
        if self.holder is not None or self.parked or not self.line:
            return None
        _, asked = self.line.popitem(last=False)
        self.holder = (asked.connection, asked.channel)
        self.until_ms = now_ms + lease_ms
        return asked

    def end(self, connection: int, channel: int) -> bool:
        """End that channel's turn; whether it had one."""
        if self.holder != (connection, channel):
            return False
        self.holder = None
        return True

    def expire(self, now_ms: int) -> bool:
        """End the turn if its lease is over; whether it did."""
        if self.holder is None or now_ms < self.until_ms:
            return False
        self.holder = None
        return True

    def forget_channel(self, connection: int, channel: int) -> bool:
        """That channel is gone: it waits for no turn, and has none.  Whether it had one."""
        self.line.pop((connection, channel), None)
        return self.end(connection, channel)

    def forget_connection(self, connection: int) -> None:
        """Nothing that connection asked for, holds or has parked counts any more."""
        for place in [place for place in self.line if place[0] == connection]:
            del self.line[place]
        self.parked = deque(entry for entry in self.parked if entry[0] != connection)
        if self.holder is not None and self.holder[0] == connection:
            self.holder = None


class TurnTable(Generic[G, P]):
    """The turns of all groups; only groups in which somebody waits or has one take memory.

    After whatever ends a turn or takes somebody out of the line, the caller *advances* the group:
    it judges what ``next_parked`` gives until that is None, then calls ``grant``.
    """

    __slots__ = ("busy",)

    def __init__(self) -> None:
        self.busy: dict[G, Turns[P]] = {}
        """In all other groups nobody has a turn or waits for one: nothing is to be parked there, and
        no turn to end."""

    def ask(self, group: G, asked: Asked) -> bool:
        """See ``Turns.ask``."""
        return self.busy.setdefault(group, Turns()).ask(asked)

    def park(self, group: G, connection: int, channel: int, submitted: P) -> bool:
        """Park what was submitted if it has to wait; whether it has."""
        turns = self.busy.get(group)
        if turns is None or not turns.holds_up(connection, channel):
            return False
        turns.parked.append((connection, submitted))
        return True

    def end(self, group: G, connection: int, channel: int) -> None:
        """A turn of that channel ends, if it has one."""
        if group in self.busy:
            self.busy[group].end(connection, channel)

    def leave(self, group: G, connection: int, channel: int) -> None:
        """That channel has no turn any more, and waits for none."""
        if group in self.busy:
            self.busy[group].forget_channel(connection, channel)

    def forget_connection(self, connection: int) -> list[G]:
        """See ``Turns.forget_connection``; the groups to advance."""
        for turns in self.busy.values():
            turns.forget_connection(connection)
        return list(self.busy)

    def expire(self, now_ms: int) -> list[G]:
        """End the turns whose lease is over; the groups to advance."""
        return [group for group, turns in self.busy.items() if turns.expire(now_ms)]

    def deadline_ms(self) -> int | None:
        """When the next lease is over."""
        return min((turns.until_ms for turns in self.busy.values()), default=None)

    def next_parked(self, group: G) -> tuple[int, P] | None:
        """The next (connection, submission) to be judged, unless a turn lasts."""
        turns = self.busy.get(group)
        if turns is None or turns.holder is not None or not turns.parked:
            return None
        return turns.parked.popleft()

    def grant(self, group: G, now_ms: int, lease_ms: int) -> Asked | None:
        """Begin the next turn if that is possible, and forget a group in which nobody waits."""
        turns = self.busy.get(group)
        if turns is None:
            return None
        asked = turns.grant(now_ms, lease_ms)
        if turns.idle:
            del self.busy[group]
        return asked

    def first_in_line(self, group: G) -> Asked | None:
        """Who has the next turn, if one lasts and somebody waits."""
        turns = self.busy.get(group)
        return next(iter(turns.line.values()), None) if turns is not None else None

    def clear(self) -> None:
        """Forget everything; what was parked has not happened."""
        self.busy.clear()
