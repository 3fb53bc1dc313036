"""Planted bugs: each breaks the product in one place, by rewriting a line of one function while it is on.

A bug is a list of edits ``(function, old text, new text)``.  The function's own code object is replaced, so that
every table and import that already holds the function runs the broken one, and nothing in the product
knows of any of this.  An edit whose old text is no longer there raises: bugs must not rot silently.
"""

from __future__ import annotations
import __future__

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import Any, NamedTuple

from score import client, conversation, replica, session, snapshot, view
from score.tools import compaction, pace
from score_server.core import (
    compactors,
    core,
    cursor,
    deletion,
    group,
    joins,
    outgoing,
    sequencer,
    snapshots,
    turns,
)
from score_server.core import feed as feeding
from score_server.core import session as sessions
from score_server.shell import committer, server
from score_server.stores import advance, memory, sqlite_rows
from ucore import change, dumps, ops, tree, vec_ops

Edit = tuple[Callable[..., Any], str, str]


class Bug(NamedTuple):
    """*name* says what is broken; *edits* break it."""

    name: str
    edits: tuple[Edit, ...]


class BugRotted(Exception):
    """The text that a bug replaces is no longer in the product: adapt the bug."""


def _broken(function: Callable[..., Any], edits: list[tuple[str, str]]) -> CodeType:
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in edits:
        if old not in source:
            raise BugRotted(f"{function.__qualname__} has no {old!r}")
        source = source.replace(old, new, 1)
    made: dict[str, Any] = {}
    flags = __future__.annotations.compiler_flag
    # The line numbers are those of the original, for tracebacks.
    source = "\n" * (function.__code__.co_firstlineno - 1) + source
    file = inspect.getsourcefile(function) or "bug"
    exec(compile(source, file, "exec", flags, True), function.__globals__ | {}, made)
    found = made[function.__name__]
    code: CodeType = getattr(found, "__func__", found).__code__
    return code


@contextmanager
def planted(bug: Bug | None) -> Iterator[None]:
    """The product with *bug* in it."""
    edits: dict[Callable[..., Any], list[tuple[str, str]]] = {}
    for function, old, new in bug.edits if bug else ():
        # A class method is bound when it is looked up: what is broken is the function in it.
        edits.setdefault(getattr(function, "__func__", function), []).append((old, new))
    whole = {function: function.__code__ for function in edits}
    try:
        for function, changes in edits.items():
            function.__code__ = _broken(function, changes)
        yield
    finally:
        for function, code in whole.items():
            function.__code__ = code


def _bug(name: str, *edits: Edit) -> Bug:
    return Bug(name, edits)


C, S, G, OUT = core.Core, sequencer.Sequencer, group.Group, outgoing.Outgoing
SN = snapshots.Snapshots
CO = compactors.Compactors

BUGS = [
    # ------------------------------------------------ order and durability
    _bug("acknowledge before sync",
         (S._take, "taken, position, None", "taken, 0, None"),
         (S._take, "self._hold(number, answer)", "self.released.append(answer)")),
    _bug("broadcast before commit",
         (S._append, ".append(entry)\n", ".append(entry); group.publish([entry])\n"),
         (S.committed, "group.publish(entries)", "pass")),
    _bug("reply before its entries",
         (OUT.line_up, "(message, needs, replies)", "(message, 0, replies)")),
    _bug("skip the strict check",
         (S.submit, "message.seen != group.assigned_head", "False")),
    _bug("judge against the durable head",
         (S.submit, "message.seen != group.assigned_head", "message.seen != group.durable_head")),
    _bug("answer a refusal before what refused is durable",
         (S._refuse, "self._hold(refusal.number, answer)", "self._hold(0, answer)")),
    _bug("accept behind a refusal",
         (S.submit, "if message.follows and not followed:", "if False:")),
    _bug("refuse behind a change that was taken",
         (S.submit, "follows.position > 0", "follows.position > 2**40")),
    _bug("group commit drops its last entry",
         (sequencer.Batch.commit, "tuple(chain.from_iterable(self.entries.values()))",
          "tuple(chain.from_iterable(self.entries.values()))[:max(1, sum(map(len, "
          "self.entries.values())) - 1)]")),
    _bug("no rollback of the heads when the disk is full",
         (S.failed, "group.roll_back()", "pass")),
    _bug("no rollback of the chain when the disk is full",
         (G.roll_back, "self.assigned_head, self.assigned_chain = self.durable_head, self.durable_chain",
          "self.assigned_head = self.durable_head")),
    _bug("no rollback of outcomes when the disk is full",
         (S.failed, "session.put(seq, record)", "pass")),
    _bug("acknowledge what a full disk has refused",
         (sequencer.Answer.taken_back, "message=self.instead", "message=self.message"),
         (sequencer.Answer.taken_back, "Refused(one.seq, STORE_FULL, 0)", "one")),
    _bug("positions are used again after a rollback",
         (G.roll_back, "self.number = 0", "self.number = 0; self.next_position = self.durable_head + 1")),
    _bug("sync answers with the head of an earlier moment",
         (C._sync, "head = cursor.group.durable_head", "head = cursor.position")),
    _bug("sync answers with the assigned head",
         (C._sync, "head = cursor.group.durable_head", "head = cursor.group.assigned_head")),
    _bug("a group is listed beyond its head",
         (snapshots.row, "state.head", "state.head + 1")),
    _bug("followers are not woken after a commit",
         (C._committed, "self._out.stir(cursor)", "pass")),
    _bug("a reply wakes nobody",
         (OUT.line_up, "self.stir(cursor)", "pass")),
    _bug("whoever waits for a slice is not woken",
         (OUT.slice_read, "self.stir(cursor)", "pass")),
    _bug("credit is forgotten",
         (C._credit, "cursor.credit += message.size", "pass")),
    _bug("the recent entries begin one too far",
         (group.Recent.start, "bisect_right(self.positions, position)",
          "bisect_right(self.positions, position) + (position > 2)")),
    _bug("a slice begins one too far",
         (feeding.Feed._source, "bisect_right(positions, cursor.position)",
          "min(len(positions) - 1, bisect_right(positions, cursor.position) + 1)")),
    _bug("a turn has no end",
         (turns.Turns.expire, "if self.holder is None or now_ms < self.until_ms:", "if True:")),
    _bug("what waits for a turn's end is forgotten",
         (turns.TurnTable.park, "turns.parked.append((connection, submitted))", "pass")),
    _bug("who is next in line is taken for up to date",
         (OUT.send_ahead, "cursor.grant = head", "cursor.grant = cursor.position = head")),
    _bug("the clock stands still when it is set back",
         (server.Clock.__call__, "self._now_ns + at_ns - self._at_ns", "self._now_ns")),
    # ------------------------------------------------ names and outcomes
    _bug("forget sessions at a restart",
         (C.__init__, "map(Session.load, state.sessions)", "map(Session.load, ())")),
    _bug("forget outcomes at a restart",
         (sessions.Session.load, "in state.outcomes", "in ()")),
    _bug("forget what is settled at a restart",
         (sessions.Session.load, "state.last_used_ms, state.settled)", "state.last_used_ms, 0)")),
    _bug("forget pins at a restart",
         (sessions.Session.load, "group, 0, seen, pinned))", "group, 0, seen, False))")),
    _bug("the store settles one too many",
         (sessions.Session.change, "self.settled, outcomes", "self.settled + 1, outcomes")),
    _bug("settling forgets what was asked for",
         (sessions.Session._settle_many, "if record.pinned:", "if False:")),
    _bug("a session is opened before it is durable",
         (S.give_birth, "failed, session.number", "failed, 0")),
    _bug("sessions expire too early",
         (C._sweep, "elif unused_ms >= retention_ms and", "elif unused_ms >= retention_ms // 4 and")),
    _bug("a goodbye ends a session that has outcomes",
         (C._bye, "if session.is_empty() and", "if")),
    _bug("no fencing of the older connection",
         (C._open_session, "if session.connection is not None:", "if False:")),
    _bug("a known name is judged anew",
         (S.submit, "if session.knows(seq):", "if False:")),
    _bug("answer no without a tombstone",
         (S.ask, "self._record(session, seq, record)", "pass")),
    _bug("answer no before the tombstone is durable",
         (S.ask, "record.position, record.pin_number)", "record.position, 0)")),
    _bug("answer no to what is on its way to the disk",
         (S.ask, "record = session.find(seq) if session else None",
          "record = session.find(seq) if session else None\n"
          "    record = None if record and record.number > self.durable else record")),
    _bug("a voided name is said to be taken by the next one asking",
         (S.ask, "OUTCOME_TAKEN if record.position else OUTCOME_NO",
          "OUTCOME_TAKEN if record.position or record.number < self.durable else OUTCOME_NO")),
    # ------------------------------------------------ resuming
    _bug("resume off by one",
         (joins.Joins._open, "Cursor(peer, channel, group, position)",
          "Cursor(peer, channel, group, position + (position > 0))")),
    _bug("resume off by one, and the replica skips its check",
         (joins.Joins._open, "Cursor(peer, channel, group, position)",
          "Cursor(peer, channel, group, position + (position > 0))"),
         (replica.Replica.receive, "if entry.predecessor != here:", "if False:")),
    _bug("the chain is not checked when a view resumes",
         (joins.Joins.enter, "elif known == resume.chain:", "elif True:")),
    _bug("a replica applies what it holds already",
         (replica.Replica.receive, "or entry.position <= here", ""),
         (replica.Replica.receive, "if entry.predecessor != here:", "if False:"),
         (tree.Tree.apply, "assert position > self.position", "assert True")),
    _bug("a replica does not keep its chain up",
         (replica.Replica._append, "self._chain = next_chain(self._chain, encoded)", "pass")),
    _bug("damage is not noticed",
         (memory.MemoryStore.read, "if next_chain(chain, encoded) != log.chains[index]:", "if False:")),
    # ------------------------------------------------ snapshots and trims
    _bug("trim without comparing the digests",
         (SN._trim_to_candidate, "if message.digest != snapshot.digest:", "if False:")),
    _bug("the floor ignores what authors are owed",
         (SN._floor, "floor = position if hold is None else min(position, hold)", "floor = position")),
    _bug("the floor goes beyond the snapshot",
         (SN._floor, "floor = position if", "floor = group.durable_head if")),
    _bug("what is to be kept is trimmed",
         (SN._floor, "if group.keep:", "if False:")),
    _bug("an incomplete candidate becomes the snapshot",
         (SN.trim, "and candidate.is_whole", "")),
    _bug("a candidate is not checked against its digest",
         (snapshots.Candidate.take, "return not self.is_whole or", "return True or"),
         (SN._trim_to_candidate, "if message.digest != snapshot.digest:", "if False:")),
    _bug("a hole in a candidate is not noticed",
         (snapshots.Candidate.take, "offset != self.received or", "")),
    _bug("a snapshot is believed to be of another place",
         (SN.offer, "elif message.chain != chain:", "elif False:")),
    _bug("a trim is answered before it is durable",
         (SN.trim, "Trimmed(message.request, TRIM_FULL, group.floor),\n        number,",
          "Trimmed(message.request, TRIM_FULL, group.floor),\n        0,")),
    _bug("a snapshot is served before it is durable",
         (G.assign_trim, "self.assigned_snapshot = trim.snapshot",
          "self.assigned_snapshot = self.snapshot = trim.snapshot")),
    _bug("an import takes the place of what was appended",
         (SN._trim_to_candidate, "candidate.imports and group.assigned_head", "False"),
         (advance._Step._adopt, "if not state.head and position:", "if position not in (0, state.head):")),
    _bug("behind a snapshot the entries go on at the head",
         (joins.Joins._open, "cursor.loading = Loading(snapshot)",
          "cursor.loading = Loading(snapshot); cursor.position = group.durable_head")),
    _bug("the wrong chain is announced with a snapshot",
         (joins.Joins._open, "SnapshotInfo(snapshot.chain,", "SnapshotInfo(group.durable_chain,")),
    _bug("a piece of a snapshot begins one too early",
         (cursor.Cursor.take_chunk, "offset + len(chunk), None", "offset + len(chunk) - 1, None")),
    _bug("entries do not wait for the end of a snapshot",
         (cursor.Cursor.reply_is_due, "and self.loading is None", "")),
    _bug("whoever is behind the floor is said to have another history",
         (joins.stand, "if resume.position < group.floor:", "if False:")),
    _bug("whoever a trim has cut off is not told",
         (C._end_those_behind, "if cursor.is_cut_off():", "if False:")),
    _bug("what is being loaded is not noticed to be gone",
         (cursor.Cursor.is_cut_off, "if self.loading is not None and", "if False and")),
    _bug("a dump numbers the containers anew",
         (dumps._value, "= [NODE_CODES[value._kind_], *value._id]",
          "= [NODE_CODES[value._kind_], value._id[0], min(value._id[1], 1)]")),
    _bug("a replica does not take over a snapshot's chain",
         (replica.Replica._load, "self._chain = incoming.chain", "pass")),
    _bug("a watch is not told that its view was loaded anew",
         (replica.Replica._load, "feed.offer_reload(position, self.tree.root)", "pass")),
    _bug("a strict change has seen what joining has loaded since",
         (client.Client.submit, "replica.position if condition == wire.STRICT else None", "None")),
    _bug("handles do not survive a reload",
         (change.Change.build, "node = tree.revive(node_id, literal.kind)", "node = None")),
    # ------------------------------------------------ damaged snapshots
    _bug("a store serves a damaged snapshot",
         (sqlite_rows.chunk_seal, "crc32(data, seal(snapshot_id, offset))", "seal(snapshot_id, offset)")),
    _bug("a client does not compare a snapshot with its digest",
         (snapshot.Incoming.check, "self._hash.digest() != self._digest", "False")),
    _bug("whoever is on a group found damaged is not told",
         (C._damage, "for cursor in list(group.cursors):", "for cursor in ():")),
    _bug("damage of one group ends the server",
         (committer.Clerk.do, "return ReadFailed(error.group, str(error))", "raise")),
    _bug("damage of one group ends the connections of those who are on it",
         (C._damage, "self._end_channel(cursor, GROUP_DAMAGED, text)",
          "self._fail(cursor.peer, GROUP_DAMAGED, text)")),
    # ------------------------------------------------ asking for snapshots
    _bug("a snapshot is asked for before it is worth it",
         (G.wants_snapshot, "> self.wanted_at", "> self.wanted_at // 2")),
    _bug("a snapshot is asked for at every commit",
         (G.ask_later, "self.wanted_at = ", "")),
    _bug("a snapshot is asked for once and never again",
         (G.publish_trim, "self.wanted_at = self._overdue_at()", "pass")),
    _bug("a log that was long before its group came into memory is not asked for",
         (G.__init__, "self.wanted_at = self._overdue_at()",
          "self.wanted_at = max(self._overdue_at(), self.log_bytes * 3)")),
    _bug("the limit is one of the whole log, not of its tail",
         (G._overdue_at, "self.snapshot.log_bytes + ", "")),
    _bug("who makes snapshots and comes again is not asked",
         (CO.add, "self._peers[peer.number] = peer",
          "known = self.__dict__.setdefault('known', set())\n"
          "    if peer.label not in known: self._peers[peer.number] = peer\n"
          "    known.add(peer.label)")),
    _bug("who comes to make snapshots is not told what is overdue",
         (CO.add, "if group.is_overdue():", "if False:")),
    _bug("only the first of those who make snapshots is asked",
         (CO.ask, "self._peers.values()", "list(self._peers.values())[:1]")),
    _bug("who made snapshots and is gone is still asked",
         (CO.remove, "self._peers.pop(peer.number, None)", "pass")),
    _bug("the client forgets all but one of the snapshots that it is asked for",
         (conversation.Conversation.wanted, "return list(wanted)", "return list(wanted)[:1]")),
    _bug("what the client is asked for in its welcome is forgotten",
         (compaction.follow, "delays = client.delays()\n                while",
          "delays = client.delays(); link.conversation.wanted()\n                while")),
    _bug("what grew while nobody made snapshots is passed over",
         (compaction.follow, "if group.tail_bytes > max(", "if 0 > max(")),
    _bug("a group that cannot be folded ends the making of snapshots",
         (compaction._try, "except (ScoreError, UCoreError) as error:", "except UCoreError as error:")),
    # ------------------------------------------------ resting in between
    _bug("rests are not counted",
         (pace.Pace.rest, "self._left_s -= seconds", "pass")),
    _bug("a rest may be longer than what is left of them",
         (pace.Pace.rest, ", REST_S_MAX, self._left_s)", ", REST_S_MAX)")),
    _bug("whoever has no rest left goes on by pieces",
         (pace.Reading.read, "pace.may_rest and not is_there", "not is_there")),
    _bug("nobody rests in between",
         (pace.Reading.read, "pace.rest()", "pass")),
    # ------------------------------------------------ whole groups
    _bug("a deletion is told before it is durable",
         (deletion.Deletions.delete_known, "OVERLOADED, 0, text), number)", "OVERLOADED, 0, text), 0)")),
    _bug("the channels of a deleted group go on",
         (C._end_deleted, "for cursor in list(group.cursors):", "for cursor in ():")),
    _bug("what was taken in a deleted group is declared void",
         (S.delete, "record._replace(group=GONE)", "record._replace(group=GONE, position=0)")),
    _bug("what was taken in a deleted group is forgotten",
         (S.delete, "for seq, record in session.taken_in(group.name):",
          "for seq, record in session.taken_in(group.name):\n"
          "            session.put(seq, None); session.drop(seq)\n"
          "            continue")),
    _bug("groups that nobody uses stay in memory",
         (C._maybe_let_go, "if group.is_idle() and", "if False and")),
    _bug("a group that is let go of forgets which positions were rolled back",
         (G.is_idle, "return not self.stored or self.next_position == self.durable_head + 1", "return True")),
    # ------------------------------------------------ the client
    _bug("the client sends again under a new seq",
         (client.Client._submit_on, "pending = session.pending or session.name(",
          "session.pending = None; pending = session.name(")),
    _bug("the client counts a sent change as unsent",
         (client.Client._submit_on, "pending.sent = True", "pass")),
    _bug("the client says nothing was changed when it does not know",
         (client.Client._submit_named, "if session.pending is not None and session.pending.sent:", "if False:")),
    _bug("the client forgets a sent submission",
         (session.Session.withdraw, "and not self.pending.sent", "")),
    _bug("the client settles what it does not know",
         (client.Client._settle, "if pending is None:",
          "if pending is not None and pending.sent:\n"
          "        self._session.answered()\n"
          "        return\n"
          "    if pending is None:")),
    _bug("the client settles the change it is sending",
         (session.Session.name, "settled = self._seq\n", "settled = self._seq + 1\n")),
    _bug("the client takes Refused for Taken",
         (view.View.submit, "if isinstance(answer, wire.Refused):",
          "if isinstance(answer, wire.Refused): return Applied([None] * len(update.ops), None, None)\n"
          "    if False:")),
    _bug("the client forgets an own entry when it reconnects",
         (replica.Replica.expect, "if self._awaited != (session, seq):", "if True:")),
    _bug("a refused strict change is sent again whatever came between",
         (replica.Replica.conflicts_with, "return any(", "return False and any(")),
    # ------------------------------------------------ applying
    _bug("nodes are renumbered in a batch",
         (ops.read, "_read_one(reader, op)", "_read_one(Reader(), op)")),
    _bug("nodes are numbered by what the replica holds",
         (change.Change.build, "(self.position, ident)", "(self.position, ident + len(parent._raw()))")),
    _bug("a failed batch is not undone",
         (tree.Tree.apply, "self._take_back(undo, position)", "pass")),
    _bug("the effects of a failed batch are shown",
         (tree.Tree.apply, "del effects[noted:]", "pass")),
    _bug("a failed pop on an empty stack is not a failure",
         (vec_ops.pop, "if not len(raw):", "if not len(raw): return None\n    if not len(raw):")),
]  # fmt: skip
BY_NAME = {bug.name: bug for bug in BUGS}
assert len(BY_NAME) == len(BUGS)
