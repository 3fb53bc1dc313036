"""Making snapshots, so that a group's log stays short and joining it stays quick.

The server cannot fold changes, so a client does it, in three steps that it may be killed in at any moment:

1. fold the group to where it stands now, and hand the server the result, a *candidate*;
2. fold it again, independently: over another connection, from the previous snapshot and the log, into
   another structure;
3. tell the server the digest of that second result.  Only if it is the candidate's does the candidate become
   the snapshot and does the log behind it go, in one commit.

So a snapshot that a program got wrong, or that was damaged on its way, is dropped, and nothing was lost: the
previous snapshot and the log behind it have been there all the time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, NoReturn, cast

from score_server.wire import messages as wire
from score_server.wire.entry import snapshot_digest
from ucore.errors import UCoreError

from ..blocking import Deadline, Link
from ..client import Client, join
from ..conversation import ConnectionLost
from ..errors import (
    ConnectionFailed,
    DeadlineExceeded,
    DivergedError,
    ScoreError,
    ServerError,
    StoreFullError,
)
from ..snapshot import encode_dump
from .fold import Fold
from .pace import Pace, Reading

logger = logging.getLogger("score")

# One commit of the server each: short enough that the changes between them do not wait.
CHUNK_BYTES = 64 * 1024
# How often a candidate is handed over again after its connection was lost.
ATTEMPTS_MAX = 5
# When ``follow`` begins: about where a server asks, so that it finds what nobody was there to be asked for.
TAIL_BYTES_MIN, TAIL_FACTOR = 1024 * 1024, 2


class Compacted(NamedTuple):
    """What ``compact`` has reached.

    Attributes:
        group: the group's name.
        position: the place that the snapshot holds.
        size: the snapshot's size in bytes.
        floor: the log begins behind this position now; 0 if all of it is kept.
    """

    group: str
    position: int
    size: int
    floor: int

    def __str__(self) -> str:
        log = f"its log begins behind {self.floor:,}" if self.floor else "its log is kept whole"
        return f"group {self.group!r}: a snapshot of change {self.position:,} ({self.size:,} bytes); {log}"


def compact(client: Client, checker: Client, group: str) -> Compacted | None:
    """Make a snapshot of *group* where it stands, have it verified, and let the server trim.

    *checker* is another client of the same server.  None: there is nothing to make one of, or somebody
    else is making a later one.  Where the latest snapshot is of this place, only the log is trimmed, as far as
    it may be by now.

    Raises:
        DivergedError: the two folds differ.  Nothing was trimmed; one of the two programs, or its
            machine, is wrong.
        CannotApplyError: the group holds what this program does not know (see ``--import``).
        ScoreError: others, by culprit.
    """
    pace = Pace(client)
    for _ in range(ATTEMPTS_MAX):
        first = Fold(group)
        Reading(client, first).read(pace)
        place = first.resume()
        if place is None:
            return None
        data, standing = dumped(first), first.digest_here()
        kept = client.perform(partial(put, fold=first, place=place, data=data, rest=pace.rest))
        if kept.verdict == wire.BROKEN:
            continue  # somebody else's took its place, or a full disk took it
        is_superseded = kept.verdict == wire.SUPERSEDED
        if is_superseded:
            # If that snapshot stands, more of the log may go by now.  An earlier version may have written
            # it, in another form (record 12), so it goes by the digest that it was sent with.
            digest = standing or snapshot_digest(data)
        else:
            second = Fold(group, until=place.position)
            Reading(checker, second).read(pace)
            digest = snapshot_digest(dumped(second))
        answer = client.perform(partial(trim, fold=first, position=place.position, digest=digest))
        if answer.verdict == wire.TRIM_DONE:
            return Compacted(group, place.position, len(data), answer.floor)
        if answer.verdict == wire.TRIM_DIFFERS:
            raise DivergedError(
                f"group {group!r}: two independent folds of change {place.position} differ, so no "
                "snapshot was made and nothing was trimmed. Run it again; if it happens again, update "
                "score on this machine, and check its memory"
            )
        if answer.verdict == wire.TRIM_FULL:
            raise full(group)
        if is_superseded:
            logger.info("group %r: somebody else makes a later snapshot of it", group)
            return None
        # The connection was lost in between, and the candidate with it.
    raise ServerError(f"group {group!r}: the server did not keep a candidate {ATTEMPTS_MAX} times")


def follow(client: Client, checker: Client, say: Callable[[str], object]) -> NoReturn:
    """Make snapshots of all groups whose logs have grown long, and whenever the server asks for one.

    What goes wrong with one group is logged, and the others are seen to; a server that is away is waited for.
    """
    delays = client.delays()
    while True:
        try:
            for group in client.groups():
                if group.tail_bytes > max(TAIL_BYTES_MIN, TAIL_FACTOR * group.snapshot_bytes):
                    _try(client, checker, group.name, say)
            with client.open_link(client.deadline_within(client.timeout), ["compact"]) as link:
                delays = client.delays()
                while True:  # what was overdue already is asked for together with the welcome
                    for name in link.conversation.wanted():
                        _try(client, checker, name, say)
                    link.receive(client.deadline_after(None))
        except (ConnectionLost, ConnectionFailed, DeadlineExceeded) as lost:
            logger.warning("%s; trying again", lost)
            client.pause(next(delays), client.deadline_after(None))


def _try(client: Client, checker: Client, group: str, say: Callable[[str], object]) -> None:
    try:
        done = compact(client, checker, group)
    except (ConnectionFailed, DeadlineExceeded):
        raise
    except (ScoreError, UCoreError) as error:
        logger.error("group %r was not compacted: %s", group, error)
    else:
        if done is not None:
            say(str(done))


def dumped(fold: Fold) -> bytes:
    """The snapshot of what *fold* holds: equal states give equal bytes."""
    if fold.failure is not None:
        raise fold.failure
    return encode_dump(fold.tree)


def put(
    link: Link, deadline: Deadline, *, fold: Fold, place: wire.Resume, data: bytes,
    rest: Callable[[Deadline], object] = lambda _: None,
) -> wire.SnapshotKept:  # fmt: skip
    """Hand *data*, the snapshot at *place*, to the server as a candidate on *fold*'s channel; its
    last word on it: KEPT, SUPERSEDED, or BROKEN if it was not kept to its end.

    *rest* is called between two pieces.

    Raises:
        StoreFullError, ServerError: it does not take it.
    """
    channel = join(link, fold, deadline)
    number = link.conversation.next_number()
    digest = snapshot_digest(data)
    link.conversation.send(
        wire.OfferSnapshot(channel, number, place.position, place.chain, len(data), digest)
    )
    kept = cast(wire.SnapshotKept, link.ask(("request", number), deadline, channel))
    while kept.verdict == wire.KEPT and kept.size < len(data):
        number = link.conversation.next_number()
        rest(deadline)
        chunk = data[kept.size : kept.size + CHUNK_BYTES]
        link.conversation.send(wire.PutSnapshot(channel, number, kept.size, chunk))
        kept = cast(wire.SnapshotKept, link.ask(("request", number), deadline, channel))
    if kept.verdict == wire.KEPT_FULL:
        raise full(fold.group)
    if kept.verdict == wire.UNKNOWN_PLACE:
        raise ServerError(
            f"group {fold.group!r}: the server does not take a snapshot of change {place.position}: "
            "it is not in the history that the group has now"
        )
    return kept


def trim(
    link: Link, deadline: Deadline, *, fold: Fold, position: int, digest: bytes
) -> wire.Trimmed:
    """Vouch for the candidate on *fold*'s channel: it is what *digest* is of."""
    channel = join(link, fold, deadline)
    number = link.conversation.next_number()
    link.conversation.send(wire.Trim(channel, number, position, digest))
    return cast(wire.Trimmed, link.ask(("request", number), deadline, channel))


def full(group: str) -> StoreFullError:
    return StoreFullError(
        f"the server's disk is full; no snapshot of group {group!r} was made. Try again when there is room"
    )
