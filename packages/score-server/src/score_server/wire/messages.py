"""Every message of the protocol, and the one table that gives each its code and its fields.

A message is an array ``[code, field, ...]`` (see ``docs/protocol.md``).  Messages are plain
records without behaviour; who may send which, and when, is in ``states.py``.

Rules
-----
- A code is never used again for something else, and a message never changes its meaning: a
  new meaning is a new code.  Fields may be added at the end in a later protocol version; a
  receiver refuses fields that it does not know.
- Codes below 64 are sent by clients, the others by servers.
- Names are the field's standard terms: a *position* is the id of a change in its group's order
  (0 is before the first), a *chain* the hash over everything up to a position.

Adding a message: a class here, a row in ``MESSAGES``, its cells in ``states.py``, a golden frame
in ``tests/score_server/wire/golden.py``, a section in ``docs/protocol.md``.
"""

from __future__ import annotations

from typing import NamedTuple

from .limits import Limits

PROTOCOL_VERSION = 1


class Resume(NamedTuple):
    """Where a replica stands: it holds every change of *incarnation* up to *position*."""

    incarnation: bytes
    position: int
    chain: bytes


class SnapshotInfo(NamedTuple):
    """A snapshot that is about to come: the *chain* at its position, its bytes, and the BLAKE2b-256 of
    the whole."""

    chain: bytes
    size: int
    digest: bytes


# ---------------------------------------------------------------- from clients


class Hello(NamedTuple):
    """The first message.  *credentials* is reserved and must be None in version 1."""

    version: int
    label: str
    features: list[str]
    credentials: bytes | None


class OpenSession(NamedTuple):
    """Ask for a new session (None) or for one that the server issued before."""

    session: bytes | None


class Join(NamedTuple):
    """Open *channel* (chosen by the client, never used twice on a connection) on *group*.

    *keep*: if this makes the group, it keeps its whole history: nothing of it is ever trimmed.
    """

    channel: int
    group: str
    resume: Resume | None
    keep: bool = False


class Leave(NamedTuple):
    channel: int


class Submit(NamedTuple):
    """Append *payload* to the channel's group, at most once under the name (session, *seq*).

    *settled*: every answer up to this seq has been received and may be forgotten.
    *seen*: the latest position the author's view holds.  *condition*: ``INTENT`` or ``STRICT``
    (accepted only if *seen* is the head).  *follows*: 0, or an earlier seq of this session that
    must have been taken for this one to be taken.
    """

    channel: int
    seq: int
    settled: int
    seen: int
    condition: int
    follows: int
    payload: bytes


class Sync(NamedTuple):
    """Ask for all entries up to the durable head as it is now, then ``Synced``."""

    channel: int
    request: int


class Credit(NamedTuple):
    """Allow the server to send *size* more bytes of entries on *channel* as they come."""

    channel: int
    size: int


class AskOutcome(NamedTuple):
    """Ask what became of a submission; a "no" is durably made final before it is answered."""

    request: int
    session: bytes
    seq: int


class Ping(NamedTuple):
    token: int


class ListGroups(NamedTuple):
    """Ask for the groups whose names come after *after* ('' for the first page)."""

    request: int
    after: str


class Bye(NamedTuple):
    """Last message of an orderly end: *settled* as in ``Submit``; nothing answers."""

    settled: int


class AskTurn(NamedTuple):
    """After a refusal: ask to be alone with the channel's group for a moment."""

    channel: int
    request: int


class EndTurn(NamedTuple):
    """Give a turn, granted or only asked for, back without a submission; nothing answers."""

    channel: int


class OfferSnapshot(NamedTuple):
    """Announce a snapshot of the channel's group at *position*, to be kept as a candidate."""

    channel: int
    request: int
    position: int
    chain: bytes
    size: int
    digest: bytes


class PutSnapshot(NamedTuple):
    """The candidate's next chunk: its bytes from *offset* on."""

    channel: int
    request: int
    offset: int
    data: bytes


class Trim(NamedTuple):
    """Vouch for the snapshot at *position*: folded once more, independently, it has *digest*.

    Only if the candidate has it too does it become the group's snapshot, and go the entries before it.
    """

    channel: int
    request: int
    position: int
    digest: bytes


class DeleteGroup(NamedTuple):
    """Remove *group* with all that it holds, for good."""

    request: int
    group: str


# ---------------------------------------------------------------- from servers


class Welcome(NamedTuple):
    """Answers ``Hello``.  *time_ms* is the server's clock, milliseconds since 1970 UTC."""

    version: int
    software: str
    time_ms: int
    features: list[str]
    limits: Limits


class SessionOpened(NamedTuple):
    """The session is durable and this connection is its only one."""

    session: bytes


class Joined(NamedTuple):
    """The channel is open.  Entries will follow *position*; *head* is the durable head.

    *position* is where the client resumed, or 0 without a *snapshot*; with one it is the snapshot's, whose
    chunks come before any entry.
    """

    channel: int
    incarnation: bytes
    position: int
    head: int
    snapshot: SnapshotInfo | None


class Entries(NamedTuple):
    """Encoded entries (``entry.py``), in order, each following the one before."""

    channel: int
    entries: list[bytes]


class Taken(NamedTuple):
    """The submission stands at *position*, durably; every entry up to it came before this."""

    seq: int
    position: int


class Refused(NamedTuple):
    """The submission has not taken effect and, unless sent again, never will.

    For ``NOT_HEAD`` every entry up to *head* came before this message.
    """

    seq: int
    reason: int
    head: int


class Synced(NamedTuple):
    request: int
    position: int


class Outcome(NamedTuple):
    """*verdict* is ``OUTCOME_NO``, ``OUTCOME_TAKEN`` (at *position*) or ``OUTCOME_EXPIRED``."""

    request: int
    verdict: int
    position: int


class Pong(NamedTuple):
    token: int


class GroupPage(NamedTuple):
    """*groups*, by name: ``[name, incarnation, durable head, floor, snapshot's position, tail bytes,
    snapshot's size, keep]`` each (0 and 0 without a snapshot); *more*: ask again after the last."""

    request: int
    groups: list[list[object]]
    more: bool


class TurnGranted(NamedTuple):
    """Answers ``AskTurn``, behind every entry up to *position*.  For the lease, submissions of others
    to this group wait; the turn ends with a submission on this channel."""

    request: int
    position: int


class WantSnapshot(NamedTuple):
    """Sent to whoever said the feature ``compact``: *group*'s log has grown long.  Nothing answers."""

    group: str


class SnapshotChunk(NamedTuple):
    """The next bytes of the snapshot that ``Joined`` announced, from *offset* on."""

    channel: int
    offset: int
    data: bytes


class Trimmed(NamedTuple):
    """Answers ``Trim``.  *verdict* is one of ``TRIM_...``; *floor*: entries up to it are gone now."""

    request: int
    verdict: int
    floor: int


class SnapshotKept(NamedTuple):
    """Answers ``OfferSnapshot`` and ``PutSnapshot``: *size* bytes of the candidate are durable.

    *verdict* is ``KEPT``, or why there is no candidate any more.
    """

    request: int
    verdict: int
    size: int


class GroupDeleted(NamedTuple):
    """Answers ``DeleteGroup``, durably.  *existed*: there was such a group."""

    request: int
    existed: bool


class Error(NamedTuple):
    """Something went wrong.  *channel* 0: the connection ends after this message; otherwise
    that channel alone is closed, and submissions on it are answered with ``CHANNEL_CLOSED``."""

    code: int
    channel: int
    text: str


Message = (
    Hello | OpenSession | Join | Leave | Submit | Sync | Credit | AskOutcome | Ping | ListGroups | Bye | AskTurn
    | OfferSnapshot | PutSnapshot | Trim | DeleteGroup | EndTurn
    | Welcome | SessionOpened | Joined | Entries | Taken | Refused | Synced | Outcome | Pong | GroupPage | TurnGranted
    | WantSnapshot | SnapshotChunk | Trimmed | SnapshotKept | GroupDeleted | Error
)  # fmt: skip

# Submit.condition
INTENT, STRICT = 0, 1

# Refused.reason
NOT_HEAD = 1  # strict, and *seen* was not the head
NOT_FOLLOWING = 2  # the submission named by *follows* was not taken
VOIDED = 3  # an outcome "no" was promised for this name
STORE_FULL = 4  # the disk is full; nothing was changed; later submissions may succeed
CHANNEL_CLOSED = 5  # the channel ended with an Error before this was judged

# Outcome.verdict
OUTCOME_NO, OUTCOME_TAKEN, OUTCOME_EXPIRED = 0, 1, 2

# Trimmed.verdict
TRIM_DONE = 0
TRIM_UNKNOWN = 1  # neither a whole candidate of this channel nor the snapshot is of that position
TRIM_DIFFERS = 2  # the digests differ; the candidate is dropped
TRIM_FULL = 3  # the disk is full; nothing was changed

# SnapshotKept.verdict
KEPT = 0
SUPERSEDED = 1  # there is a snapshot as late as this, or another's later candidate is under way
UNKNOWN_PLACE = 2  # position and chain are not in this group's history
BROKEN = 3  # a wrong offset, too much data, or a whole that has another digest than was offered
KEPT_FULL = 4  # the disk is full

# Error.code
MALFORMED = 1  # what was sent is no frame or message of this protocol
OUT_OF_ORDER = 2  # a known message at a moment or with a number it must not have
TOO_LARGE = 3  # over an announced limit
VERSION_UNSUPPORTED = 4  # the text names the versions the server speaks
SESSION_EXPIRED = 5  # the session is unknown: expired, or issued by another store
SESSION_FENCED = 6  # a newer connection has taken this session over
GROUP_REPLACED = 7  # the resume position does not match the group's history
GROUP_DAMAGED = 8  # the stored log of this group fails its check
TOO_MANY = 9  # connections, groups on a connection, sessions, unsettled submissions ...
TIMED_OUT = 10  # no Hello in time
SHUTTING_DOWN = 11  # the server stops in order; connect again later
OVERLOADED = 12  # the server's memory for unfinished frames is used up
BEHIND_TRIM = 13  # the entries behind this channel's place are gone; join again
GROUP_DELETED = 14  # somebody has deleted the group

MESSAGES: dict[int, type[Message]] = {
    1: Hello,
    2: OpenSession,
    3: Join,
    4: Leave,
    5: Submit,
    6: Sync,
    7: Credit,
    8: AskOutcome,
    9: Ping,
    10: ListGroups,
    11: Bye,
    12: AskTurn,
    13: OfferSnapshot,
    14: PutSnapshot,
    15: Trim,
    16: DeleteGroup,
    17: EndTurn,
    65: Welcome,
    66: SessionOpened,
    67: Joined,
    68: Entries,
    69: Taken,
    70: Refused,
    71: Synced,
    72: Outcome,
    73: Pong,
    74: GroupPage,
    80: TurnGranted,
    81: WantSnapshot,
    82: SnapshotChunk,
    83: Trimmed,
    84: SnapshotKept,
    85: GroupDeleted,
    96: Error,
}
CODES: dict[type[Message], int] = {message: code for code, message in MESSAGES.items()}
