"""A replica: a tree, and the place in the group's order that it has reached.  Sans-IO.

Rules
-----
- The state is at all times the fold of a gap-free prefix: an entry is applied only if its
  predecessor is the replica's position; entries that it already holds are passed over (a watch and
  a call may both bring them).
- The position *is* the tree's position; the chain is kept with the position it belongs to.  If an
  interrupt came between the two, or inside applying, they disagree, and the replica has to be
  rebuilt (``suspect``): emptied with ``reset`` and read again.  Handles survive that.
- Where the server has no log any more it sends a snapshot.  Loading it is one step like any other: what changed
  in between is not known one by one, so a watch is told once ("reload"), and a strict change conflicts.
- A change or a snapshot that cannot be applied here (unknown type, newer operations) stops the replica for good at
  its last whole change: ``failure`` is then raised by every call that would move it.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from itertools import repeat
from operator import length_hint
from typing import Any, Final, NamedTuple, TypeAlias

from score_server.wire.entry import Entry, chains_behind, decode_entry, next_chain
from score_server.wire.errors import RemoteProtocolError
from score_server.wire.messages import MALFORMED, OUT_OF_ORDER, Joined, Resume
from ucore.base import ABSENT, Applied, Effect, Strict
from ucore.dumps import kind_of
from ucore.errors import CannotApplyError, SkeletonError
from ucore.runs import Told
from ucore.tree import Tree
from ucore.updatable import Update

from .errors import ProtocolError, ServerError, WatchOverflowError
from .payload import decode_update
from .runs import (
    PART_ENTRIES_MIN,
    RUN_ENTRIES_MIN,
    EntryRun,
    decode_payloads,
    read_changes,
    read_entries,
    run_length,
)
from .snapshot import Incoming, Progress, announced, decode_dump

# A watch that nobody reads while its view goes on; about 100 MB of small changes.
WATCH_CHANGES_MAX = 200_000

# An entry, perhaps as it was decoded: one object less for each.
_Fields: TypeAlias = Entry | tuple[Any, ...]

# What an own change is, when none is expected.
_NOTHING: Final[tuple[bytes, Update | None]] = (b"", None)

logger = logging.getLogger("score")


class Change(NamedTuple):
    """One elementary change, as a watch tells it.

    Attributes:
        position: the id of the atomic change it was part of (several share one).
        time_ms: the server's clock when it was ordered, milliseconds since 1970 UTC.
        label: the name the author's client gave itself.
        node: the container that changed (the structure itself, or one nested in it).
        kind: "put" or "delete" (maps), "set", "insert", "remove" or "reorder" (lists and stacks);
            "reload" when the view was so far behind that the server had only a snapshot for it: anything
            may have changed, at once, up to this position (key None, label '', time_ms 0).
        key: the key, or the index at that moment.
        old: the value before, ``ucore.ABSENT`` if there was none; containers as plain copies.
        new: the value after, ``ucore.ABSENT`` if there is none.
    """

    position: int
    time_ms: int
    label: str
    node: object
    kind: str
    key: object
    old: object
    new: object


# Changes that came together: the position of the last one, how many a feed has been offered by then, these among
# them, and those of them that were not taken yet.
_Batch: TypeAlias = tuple[int, int, Iterator[Change]]


class Feed:
    """The changes behind one watch's cursor that the view already holds.

    *next*: for whoever takes them: iterating it gives the next one, if one is at hand.  That is one step in C,
    so that no Ctrl-C has to come between taking a change and giving it.
    """

    # All else follows from what is in _batches, which changes in one step as well.
    __slots__ = ("_batches", "_overflowed", "_read", "next")

    def __init__(self, position: int) -> None:
        self.next: Iterator[Change] = iter(())
        self._batches: deque[_Batch] = deque()
        self._read: _Batch = (position, 0, self.next)  # the latest that was taken whole
        self._overflowed = False

    def offer(self, fields: _Fields, effects: list[Effect]) -> None:
        """Add an entry's changes, unless a replay brings what is here already."""
        position, _, time_ms, _, _, label, _ = fields
        batches = self._batches
        last, total, _ = batches[-1] if batches else self._read
        if position <= last or self._overflowed:
            return
        if batches and (unread := self._unread()) and unread + len(effects) > WATCH_CHANGES_MAX:
            self._overflowed = True
            return
        # As Change's constructor does, in half the time.
        changes = [tuple.__new__(Change, (position, time_ms, label, *effect)) for effect in effects]
        # In one step, as an interrupt must not divide an entry.
        batches.append((position, total + len(changes), iter(changes)))

    def offer_run(self, run: EntryRun, told: Told) -> None:
        """``offer`` what each entry of *run* does: one change each."""
        node, kind, keys, olds, news = told
        rows = zip(
            run.positions, run.times, run.labels, repeat(node), repeat(kind), keys, olds, news,
            strict=False,
        )  # fmt: skip
        changes: list[Change] = list(map(tuple.__new__, repeat(Change), rows))
        last, total, _ = self._batches[-1] if self._batches else self._read
        if run.positions[0] <= last:
            changes = changes[bisect_right(run.positions, last) :]
        if self._overflowed or not changes:
            return
        fitting = changes[: max(0, WATCH_CHANGES_MAX - self._unread())]
        if fitting:
            self._batches.append((fitting[-1].position, total + len(fitting), iter(fitting)))
        self._overflowed = len(fitting) < len(changes)

    def offer_reload(self, position: int, root: object) -> None:
        """Add that everything may have changed up to *position*; as with ``offer``, once."""
        last, total, _ = self._batches[-1] if self._batches else self._read
        if position > last and not self._overflowed:
            change = Change(position, 0, "", root, "reload", None, ABSENT, ABSENT)
            self._batches.append((position, total + 1, iter((change,))))

    def _unread(self) -> int:
        """How many changes are here."""
        if not self._batches:
            return 0
        _, total, left = self._batches[0]
        return self._batches[-1][1] - total + length_hint(left)

    def has_more(self) -> bool:
        """Whether the view holds a change that was not taken yet; it is what *next* gives then.

        Raises:
            WatchOverflowError: the next ones had to be left out, because nobody read them.
        """
        batches = self._batches
        while batches:
            batch = batches[0]
            left = self.next = batch[2]
            if length_hint(left):
                return True
            self._read = batch
            batches.popleft()
        if self._overflowed:
            raise WatchOverflowError(
                f"more than {WATCH_CHANGES_MAX:,} changes were not read; make a new watch, "
                "and read it between changes of your own"
            )
        return False


class Replica:
    """One view's tree and its place.  See the module's rules."""

    __slots__ = (
        "__weakref__", "_awaited", "_chain", "_chain_position", "_goal", "_loaded",
        "_noted_from", "_own", "_proposed", "_since", "failure", "feeds", "group", "incarnation", "keep", "progress",
        "receiving", "resets", "tree", "until",
    )  # fmt: skip

    def __init__(
        self, group: str, tree: Tree, *, keep: bool = False, until: int | None = None
    ) -> None:
        """*keep*: the group keeps its history, if joining makes it.  *until*: the position behind which
        no entry is taken in any more."""
        self.group = group
        self.tree = tree
        self.keep = keep
        self.until = until
        self.progress: Callable[[Progress], object] | None = None
        self.incarnation: bytes | None = None
        self.failure: CannotApplyError | SkeletonError | None = None
        self.feeds: list[Feed] = []
        self.resets = 0
        self.receiving = False
        """Entries are being taken in; also after an error that ended that."""
        self._chain = b""
        self._chain_position = 0
        self._goal = 0  # the head when it joined
        self._loaded = 0  # the position of the latest snapshot loaded
        self._awaited: tuple[bytes, int] | None = None
        self._own: Applied | None = None
        self._proposed = _NOTHING
        self._since: list[Effect] | None = None
        self._noted_from = 0

    # ------------------------------------------------------------ the place

    @property
    def position(self) -> int:
        return self.tree.position

    @property
    def suspect(self) -> bool:
        """An interrupt (or C code that changed a container behind our back) left doubt."""
        return self.tree.interrupted or self._chain_position != self.tree.position

    def reset(self) -> None:
        """Back to the empty state before the first change; the next join reads all of it."""
        self.resets += 1  # first: every channel that goes on from the old place is void
        self.tree.reset()
        self._chain_position = 0
        self._chain = self.incarnation or b""

    def resume(self) -> Resume | None:
        """What a join says about the place; None for an empty replica, which fits anything."""
        if self.incarnation is None:
            return None
        if self.position:
            return Resume(self.incarnation, self.position, self._chain)
        # What an own change gave is known only from its entry: read the log, if it still begins there.
        return Resume(self.incarnation, 0, self.incarnation) if self._awaited else None

    def joined(self, message: Joined) -> Incoming | None:
        """The server's answer to a join; the snapshot that is going to come, if one is.

        Raises:
            RemoteProtocolError: the server goes on from another place than asked.
        """
        self._goal = message.head
        incoming = announced(message)
        if incoming is not None:
            if not self._is_new(incoming):
                raise RemoteProtocolError(
                    OUT_OF_ORDER, f"position {self.position} is answered with an older snapshot"
                )
            return incoming
        if message.position not in (0, self.position):
            raise RemoteProtocolError(
                OUT_OF_ORDER,
                f"asked for entries after {self.position}, promised those after {message.position}",
            )
        if self.position == 0:
            self._become_of(message.incarnation)
            self._chain = message.incarnation
        elif message.position == 0 or message.incarnation != self.incarnation:
            raise RemoteProtocolError(OUT_OF_ORDER, "the resumed group is not the one asked for")
        return None

    def _become_of(self, incarnation: bytes) -> None:
        """Follow this history from here on.  An empty replica may have joined, but not begun, another one: a watch's
        connection may still bring that one's entries, whose numbers would fit."""
        if self.incarnation is not None and self.incarnation != incarnation:
            self.resets += 1
        self.incarnation = incarnation

    # ------------------------------------------------------------ snapshots

    def receive_chunk(self, incoming: Incoming, offset: int, data: bytes) -> bool:
        """Take the next piece of *incoming* in; with the last one, become what it holds.  Whether it was.

        Raises:
            RemoteProtocolError: see ``Incoming.add``.
        """
        done = incoming.add(offset, data)
        if self.progress is not None:
            self.progress(Progress("snapshot", incoming.received, incoming.size))
        # Another connection may have brought the replica further meanwhile.
        if done and self.failure is None and self._is_new(incoming):
            try:
                self._load(incoming)
            except (CannotApplyError, SkeletonError) as error:
                error.add_note(
                    f"group {self.group!r}, snapshot of change {incoming.position}; "
                    f"this view stops at change {self.position}"
                )
                self.failure = error
        return done

    def _is_new(self, incoming: Incoming) -> bool:
        """Whether *incoming* would move this replica on."""
        same = self.position == 0 or incoming.incarnation == self.incarnation
        return same and incoming.position > self.position

    def _load(self, incoming: Incoming) -> None:
        position = incoming.position
        dump = decode_dump(incoming.take(), position)
        self._become_of(incoming.incarnation)
        self.become(dump)
        for feed in self.feeds:
            feed.offer_reload(position, self.tree.root)
        self._loaded = position
        self._chain = incoming.chain
        self._chain_position = position  # last: until now an interrupt has it read again

    def become(self, dump: object) -> None:
        """Load *dump* into the tree.

        Raises:
            SkeletonError: it is of another kind of structure.
            CannotApplyError: it says nothing that this program understands.
        """
        kind, own = kind_of(dump), self.tree.root._kind_
        if kind is not None and kind != own:
            raise SkeletonError(f"group {self.group!r} holds a {kind}, not a {own}")
        self.tree.load(dump)

    # ------------------------------------------------------------ entries

    def receive_all(self, encoded: list[bytes]) -> None:
        """``receive`` each, in order; many at a time, where that comes to the same."""
        self.receiving = True
        if len(encoded) < RUN_ENTRIES_MIN:
            for one in encoded:
                self.receive(one)
        else:
            length = run_length(encoded)
            for start in range(0, len(encoded), length):
                self._receive_some(encoded[start : start + length])
        self.receiving = False
        if self.progress is not None:
            self.progress(Progress("changes", self.position, self._goal))

    def _receive_some(self, encoded: list[bytes]) -> None:
        run = read_entries(encoded, self.tree.position) if self.failure is None else None
        # A run that goes beyond where this replica stops is taken in one by one.
        if run is None or (self.until is not None and run.positions[-1] > self.until):
            for one in encoded:
                self.receive(one)
            return
        # The own one stands alone: somebody wants to know what it gives.
        own = None if self._awaited is None else run.find(*self._awaited)
        if own is None:
            self._append_part(run, encoded)
            return
        for start, stop in ((0, own), (own, own + 1), (own + 1, len(encoded))):
            if self.failure is None and start < stop:
                self._append_part(run.part(start, stop), encoded[start:stop])

    def _append_part(self, run: EntryRun, encoded: list[bytes]) -> None:
        """Apply these entries in one go if possible, else one by one."""
        if len(encoded) >= PART_ENTRIES_MIN and self._append_run(run, encoded):
            return
        plains = decode_payloads(run.payloads) or repeat(None)
        updates: dict[bytes, Update] = {}
        for row, one, plain in zip(zip(*run, strict=True), encoded, plains, strict=False):
            payload: bytes = row[-1]
            update = updates.get(payload)
            if update is None:
                update = self._understood(row, plain)
                if update is None:
                    return
                updates[payload] = update
            self._append(row, one, update)

    def _append_run(self, run: EntryRun, encoded: list[bytes]) -> bool:
        """Apply these entries in one go, if that can be done."""
        changes = read_changes(run.payloads)
        if changes is None:
            return False
        noted = self.feeds or self._since is not None
        told: list[Told] | None = [] if noted else None
        position = run.positions[-1]
        if not self.tree.apply_run(changes, position, told=told):
            return False
        if told:
            for feed in self.feeds:
                feed.offer_run(run, told[0])
            if self._since is not None:
                self._since += told[0].effects()
        self._chain = chains_behind(self._chain, encoded)[-1]
        self._chain_position = position
        return True

    def receive(self, encoded: bytes) -> None:
        """Apply the next entry, or pass over one that is held already.

        Raises:
            RemoteProtocolError: not an entry, or not the next one.
        """
        try:
            entry = decode_entry(encoded)
        except ValueError as error:
            raise RemoteProtocolError(MALFORMED, f"not an entry: {error}") from error
        here = self.tree.position
        if self.failure is not None or entry.position <= here:
            return
        if self.until is not None and here >= self.until:
            return
        if entry.predecessor != here:
            raise RemoteProtocolError(
                OUT_OF_ORDER, f"entry {entry.position} does not follow position {here}"
            )
        update = self._understood(entry)
        if update is not None:
            self._append(entry, encoded, update)

    def _understood(self, fields: _Fields, plain: object = None) -> Update | None:
        """What the next entry says; None if that cannot be understood, and then this view stops before it.

        *plain*: what its payload decodes to, where that is known.
        """
        payload = fields[6]
        try:
            proposed, update = self._proposed
            if update is not None and payload == proposed:
                update.steps  # noqa: B018  # whatever cannot be read is told here
                return update
            return decode_update(payload) if plain is None else Update.from_plain(plain)
        except CannotApplyError as error:
            entry = Entry._make(fields)
            error.add_note(
                f"group {self.group!r}, change {entry.position} by {entry.label!r}; "
                f"this view stops at change {self.position}"
            )
            self.failure = error
            return None

    def _append(self, fields: _Fields, encoded: bytes, update: Update) -> None:
        """Apply the next entry, which says *update*."""
        position, _, _, session, seq, _, _ = fields
        if self.feeds or self._since is not None:
            applied = self._apply_noted(fields, update)
        else:
            applied = self.tree.apply(update, position)
        if (session, seq) == self._awaited:
            self._own = applied
        self._chain = next_chain(self._chain, encoded)
        self._chain_position = position

    def _apply_noted(self, fields: _Fields, update: Update) -> Applied:
        """Apply the entry of these *fields*, and tell who wants to know what it does."""
        effects: list[Effect] = []
        applied = self.tree.apply(update, fields[0], effects=effects)
        if effects:
            self._tell(fields, effects)
        return applied

    def _tell(self, fields: _Fields, effects: list[Effect]) -> None:
        for feed in self.feeds:
            feed.offer(fields, effects)
        if self._since is not None:
            self._since += effects

    # ------------------------------------------------------------ this view's own changes

    def expect(
        self, session: bytes, seq: int, payload: bytes = b"", update: Update | None = None
    ) -> None:
        """What applying the entry of this name gives is to be kept for ``own``.

        *update* is what *payload* says, if that is known: an entry with these bytes need not be decoded.

        Said again on a new connection, it keeps what is there: the entry may have come on the old one,
        only its answer may not.
        """
        if self._awaited != (session, seq):
            self._proposed = payload, update  # first: it belongs to whom is awaited
            self._awaited, self._own = (session, seq), None

    def own(self, position: int) -> Applied:
        """What applying the expected entry, said to stand at *position*, gave.

        Raises:
            CannotApplyError: the view stopped before it.
            ServerError: the entry was trimmed, and is part of the snapshot that the view holds.
            ProtocolError: the server said so without having sent the entry.
        """
        if self.failure is not None:
            raise self.failure
        if self._own is None and position <= self._loaded:
            raise ServerError(
                f"group {self.group!r}: the change took effect at {position}, and what it gave is not known: "
                "the view was loaded from a snapshot that holds it"
            )
        if self._own is None or self.tree.position < position:
            raise ProtocolError(
                f"the server says that a change stands at {position} but did not send it"
            )
        applied, self._own, self._awaited = self._own, None, None
        self._proposed = _NOTHING
        return applied

    def note_effects(self) -> None:
        """From here on, keep what changes, for ``conflicts_with``."""
        self._since = []
        self._noted_from = self.position

    def stop_noting_effects(self) -> None:
        self._since = None

    def conflicts_with(self, strict: Strict) -> bool:
        """Whether what changed since ``note_effects`` touched what a strict change relies on."""
        assert self._since is not None, "note_effects comes first"
        if strict.node_id is None or strict.node_id not in self.tree.nodes:
            return True
        if self._loaded > self._noted_from:
            return True  # whatever changed up to there
        node = self.tree.nodes[strict.node_id]
        return any(
            effect.node is node
            and (
                strict.last is None
                or effect.kind == "reorder"
                or not isinstance(effect.key, int)
                or effect.key <= strict.last
            )
            for effect in self._since
        )
