"""``score export`` and ``score import``: a group into a file, and a group out of one.

An export copies what the server has, byte for byte, and folds nothing, so it also works for groups whose types
this process does not know.  An import folds, twice, as ``compaction`` does, and for the same reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import BinaryIO

from score_server.wire import messages as wire
from score_server.wire.entry import snapshot_digest

from ..archive import ArchiveReader, ArchiveWriter, Beginning
from ..client import Client
from ..errors import ArchiveError, ServerError, UsageError
from ..rawlog import RawLog
from ..runs import RUN_ENTRIES_MAX
from .compaction import dumped, full, put, trim
from .fold import Fold

Progress = Callable[[int, int], None]


def export_group(client: Client, group: str, path: str, progress: Progress) -> int:
    """Write *group*, as it is when this begins, to *path*; the position that it reaches.

    The file is there when it is whole: it is written beside *path* first, and takes its place at the end.

    Raises:
        UsageError: the group holds nothing.
        OSError: the file cannot be written.
        ScoreError: others, by culprit.
    """
    beside = f"{path}.part"
    try:
        with open(beside, "wb") as file:
            position = _written(client, group, file, progress)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise
    return position


def _written(client: Client, group: str, file: BinaryIO, progress: Progress) -> int:
    known = next((found for found in client.groups() if found.name == group), None)
    # A group that keeps its history is to keep it in the file, too.
    with RawLog(client, group, history=known is not None and known.keep_history) as log:
        raw, size, digest = log.raw, 0, b""
        if raw.info is not None:
            size, digest = raw.info.size, raw.info.digest
        chain = raw.info.chain if raw.info is not None else raw.chain
        begin = Beginning(
            group, raw.incarnation, known is not None and known.keep_history,
            raw.begin, chain, size, digest,
        )  # fmt: skip
        writer = ArchiveWriter(file.write, begin)
        done = 0
        for piece in log.snapshot():
            writer.snapshot(piece)
            done += len(piece)
            progress(done, size)
        for entries in log.entries():
            for encoded in entries:
                writer.entry(encoded)
            progress(raw.position, known.position if known else 0)
        if not raw.position:
            raise UsageError(f"group {group!r} holds nothing (score ls lists the groups there are)")
        return writer.end()


def import_group(client: Client, path: str, group: str, progress: Progress) -> int:
    """Make *group* from the archive at *path*; the position that it begins at.

    Raises:
        ArchiveError: the file is none, or not all of one.
        UsageError: *group* holds something already.
        CannotApplyError: the archive holds what this program does not know (see ``--import``).
        OSError: the file cannot be read.
        ScoreError: others, by culprit.
    """
    first = _folded(path, group, progress)
    place = first.resume()
    if place is None:
        raise ArchiveError(f"{path} is the archive of a group that never held anything")
    target = Fold(group, keep=first.keep)
    client.sync(target)
    if target.position or target.incarnation is None:
        raise UsageError(
            f"group {group!r} holds something already; import into another name, or delete it first"
        )
    data = dumped(first)
    # The chain of an empty group is its incarnation: there is no history that the snapshot is of.
    begin = wire.Resume(target.incarnation, place.position, target.incarnation)
    client.perform(partial(put, fold=target, place=begin, data=data))
    digest = snapshot_digest(dumped(_folded(path, group, progress)))
    answer = client.perform(partial(trim, fold=target, position=place.position, digest=digest))
    if answer.verdict == wire.TRIM_FULL:
        raise full(group)
    if answer.verdict != wire.TRIM_DONE:
        raise ServerError(
            f"group {group!r} was not made: somebody else began to use it meanwhile, or the connection "
            f"was lost (verdict {answer.verdict}); look with score ls, then try again"
        )
    return place.position


def _folded(path: str, group: str, progress: Progress) -> Fold:
    """What the archive at *path* holds."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        reader = ArchiveReader(file)
        begin = reader.beginning
        fold = Fold(group, keep=begin.keep)
        snapshot = None
        if begin.snapshot_bytes:
            snapshot = wire.SnapshotInfo(begin.chain, begin.snapshot_bytes, begin.snapshot_digest)
        joined = wire.Joined(1, begin.incarnation, begin.position, begin.position, snapshot)
        incoming = fold.joined(joined)
        offset = 0
        for piece in reader.snapshot():
            assert incoming is not None, "the reader gives as many bytes as were announced"
            fold.receive_chunk(incoming, offset, piece)
            offset += len(piece)
            progress(file.tell(), size)
        entries = reader.entries()
        while run := list(islice(entries, RUN_ENTRIES_MAX)):
            fold.receive_all(run)
            progress(file.tell(), size)
    return fold
