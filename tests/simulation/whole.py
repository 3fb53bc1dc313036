"""What simulated programs do with whole groups: snapshots, right ones and wrong ones, imports, deletions, and
what others do meanwhile.

A compactor is the real one (``score.tools.compaction``), on two simulated clients; what stops or kills a program
in any of its calls stops or kills it between any two steps of that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import score
from score.blocking import Deadline, Link
from score.client import join
from score.payload import PAYLOAD_DEPTH_MAX
from score.tools import compaction
from score.tools.compaction import dumped
from score.tools.fold import Fold
from score_server.wire import codec
from score_server.wire import messages as wire
from score_server.wire.entry import snapshot_digest

from .oracle import BEFORE, Answer
from .pipeline import Pipeline

if TYPE_CHECKING:
    from .oracle import Call
    from .plans import Op
    from .workload import Process

WINDOW_WIDE = 64 * 1024
# What others may do to a compactor at any time; anything else that the server refuses is a mistake of somebody.
OVERTAKEN = ("did not keep a candidate", f"(verdict {wire.BROKEN})")


def compact(process: Process, call: Call, op: Op) -> None:
    """Make a snapshot; at the end of a run, nothing may be in its way."""
    client, oracle = process.client, process.world.oracle
    assert client is not None
    with process.another_client() as checker:
        try:
            done = compaction.compact(client, checker, op.group)
        except score.DivergedError:
            if process.is_at_barrier or op.group not in process.world.spoilt:
                raise
            return  # what it vouched for was somebody else's candidate, and wrong
        except score.ServerError as error:
            refused = (
                type(error) is score.ServerError and op.group not in process.world.disk.has_rotted
            )
            if process.is_at_barrier or not refused or not any(t in str(error) for t in OVERTAKEN):
                raise
            return
    if done is not None:
        oracle.trimmed(call, done.position, None, done.floor)
    if process.is_at_barrier and oracle.is_of_now(call):
        snapshot, head = oracle.log(op.group).snapshot, oracle.log(op.group).head
        if head and (snapshot is None or snapshot.state.position != head):
            oracle.fail("P8", f"there is no snapshot of {op.group} at {head}: {snapshot}")


def compact_wrongly(process: Process, call: Call, op: Op) -> None:
    """What a program does that folds wrongly, or says what it must not."""
    client = process.client
    assert client is not None
    first = Fold(op.group)
    client.sync(first)
    place = first.resume()
    if place is None:
        return
    right = dumped(first)
    wrong = _spoilt(right)
    how = op.numbers[0] % 5
    offered, vouched = (
        (wrong, right) if how == 0 else (right, wrong) if how == 1 else (right, right)
    )
    if how == 3:  # somewhere else
        place = place._replace(position=abs(place.position - 2 * (op.numbers[1] % 2)) + 1)
    process.world.spoilt.add(op.group)
    step: Callable[[Link, Deadline], object] = partial(
        compaction.put, fold=first, place=place, data=offered
    )
    if how in (2, 4):
        step = partial(
            _begin, fold=first, place=place, data=right, skip=op.numbers[1] % 2 * (how - 2)
        )
    try:
        client.perform(step)
    except score.ServerError as error:
        if type(error) is not score.ServerError:
            raise
    vouch = partial(
        compaction.trim, fold=first, position=place.position, digest=snapshot_digest(vouched)
    )
    answer = client.perform(vouch)
    if answer.verdict == wire.TRIM_DONE:  # then somebody else has made the same, and right
        process.world.oracle.trimmed(call, place.position, snapshot_digest(vouched), answer.floor)


def _begin(
    link: Link, deadline: Deadline, *, fold: Fold, place: wire.Resume, data: bytes, skip: int
) -> None:
    """Offer a snapshot, and give a part of it, or one with a hole (*skip*)."""
    channel = join(link, fold, deadline)
    talk = link.conversation
    number = talk.next_number()
    digest = snapshot_digest(data)
    talk.send(wire.OfferSnapshot(channel, number, place.position, place.chain, len(data), digest))
    link.ask(("request", number), deadline, channel)
    for start, end in ((0, len(data) // 2), (len(data) // 2 + skip, len(data) - 1 + skip)):
        number = talk.next_number()
        talk.send(wire.PutSnapshot(channel, number, start, data[start:end]))
        link.ask(("request", number), deadline, channel)


def _spoilt(data: bytes) -> bytes:
    """A dump that is a dump, of something else."""
    plain: Any = codec.decode(data, depth_max=PAYLOAD_DEPTH_MAX)
    code, *_ = root = plain[3]
    if code >= 38:  # by columns
        code, root = code - 3, [code - 3, 0, 0]
    plain[3] = [*root, *(["wrong", 1] if code == 35 else ["wrong"])]
    return codec.encode(plain)


def import_(process: Process, call: Call, op: Op) -> None:
    """Begin *op*'s group with what another one holds, as ``tools.backup`` does with a file."""
    client, oracle = process.client, process.world.oracle
    assert client is not None
    source, target = Fold(f"{op.group[0]}0"), Fold(op.group)
    try:
        client.sync(source)
    except (score.GroupDamagedError, score.ProtocolError):
        if source.group not in process.world.disk.has_rotted:
            raise
        return
    place = source.resume()
    client.sync(target)
    if place is None or target.position or target.incarnation is None:
        return
    data = dumped(source)
    begin = wire.Resume(target.incarnation, place.position, target.incarnation)
    try:
        client.perform(partial(compaction.put, fold=target, place=begin, data=data))
    except score.ServerError as error:
        if type(error) is not score.ServerError:
            raise
        return  # somebody else has begun it
    vouch = partial(
        compaction.trim, fold=target, position=place.position, digest=snapshot_digest(data)
    )
    answer = client.perform(vouch)
    if answer.verdict == wire.TRIM_DONE:
        oracle.trimmed(call, place.position, snapshot_digest(data), answer.floor)


def stay_away(process: Process, call: Call, op: Op) -> None:
    """Do nothing, while others go on and trim."""
    process.around.sleep(process.world.step_s * (100 + 10 * op.numbers[0]))


def overtaken(process: Process, call: Call, op: Op) -> None:
    """A strict change whose author's connection is lost while it decides; meanwhile others change the group,
    and mostly make a snapshot of it, so that joining again loads what the author has not seen.

    It may only be taken if nothing has come of that.
    """
    structure = process.structure(op.group)
    is_map = op.group[0] == "m"
    try:
        with structure.transaction() as t:
            seen = t.get("k1") if is_map else list(t)
            _lose_link(process)
            Pipeline(process, op._replace(what="pipeline", numbers=(0, 1, 0))).run()
            if op.numbers[0] % 5:
                compact(process, call, op)
                _lose_link(process)
            # So that much has arrived when it goes on.
            process.sluggishness, process.window = 0.9, WINDOW_WIDE
            if is_map:
                t["t1"] = op.tag
            else:
                t.append(op.tag)
    finally:
        process.sluggishness, process.window = process.world.sluggishness, process.world.window
    answer: Answer = BEFORE, lambda before: (before.get("k1") if is_map else before) == seen
    incarnation = structure._view.replica.incarnation
    process.world.oracle.done(call, answer, None, structure.position, incarnation)


def load_slowly(process: Process, call: Call, op: Op) -> None:
    """Somebody begins to load a snapshot, and reads on only when another one has taken its place."""
    fold = Fold(op.group)
    is_first = True

    def load(link: Link, deadline: Deadline) -> None:
        nonlocal is_first
        channel = join(link, fold, deadline)
        if is_first:
            is_first = False
            Pipeline(process, op._replace(what="pipeline", numbers=(0, 1, 0))).run()
            compact(process, call, op)
        number = link.conversation.next_number()
        link.conversation.send(wire.Sync(channel, number))
        link.ask(("request", number), deadline, channel)

    process.window = 50  # what is read is all that comes
    try:
        slow = process.another_client()
    finally:
        process.window = process.world.window
    with slow, slow.deadline(10 * process.world.timeout_s):
        slow.perform(load)


def _lose_link(process: Process) -> None:
    """As a call does that is in too much of a hurry."""
    assert process.client is not None
    hurry = process.client.deadline(process.world.step_s / 1_000)
    with contextlib.suppress(score.DeadlineExceeded), hurry:
        process.client.ping()


def verify(process: Process, call: Call, op: Op) -> None:
    """The view finds itself to be right."""
    structure = process.structure(op.group)
    structure.verify()
    process.world.oracle.note_acknowledged(
        call, structure.position, structure._view.replica.incarnation
    )


def delete(process: Process, call: Call, op: Op) -> None:
    """Delete a group; who uses it goes on with a new one of its name."""
    assert process.client is not None
    existed = process.client.delete(op.group)
    process.world.oracle.deleted(call, existed=existed)
