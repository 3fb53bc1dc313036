"""What the server sends on one channel, held against the durable history of its group: a snapshot, whole and
as it is, or nothing; then the entries behind it, without gaps.
"""

from __future__ import annotations

from score_server.wire.entry import decode_entry
from score_server.wire.messages import Entries, Joined, SnapshotChunk

from .group_log import Broken, Log, Snapshot


class Channel:
    """One channel, from its ``Joined`` on.

    *log*: its group's, None as long as nothing of that is durable.  A ``Joined`` waits with its connection, so
    the group may have gone on since; what follows it is sent as things stand, unless not *is_prompt*.
    """

    def __init__(self, log: Log | None, joined: Joined, *, is_prompt: bool) -> None:
        self.incarnation = joined.incarnation
        self._is_prompt = is_prompt
        self._loading: Snapshot | None = None
        self._offset = 0
        self._position = joined.position
        if joined.snapshot is not None:
            self._loading = _announced(log, joined)
        elif joined.position not in (log.chains if log is not None else (0,)):
            raise Broken("P4", f"{joined}: that is no place of the group")

    def chunk(self, log: Log, message: SnapshotChunk) -> None:
        loading, end = self._loading, message.offset + len(message.data)
        if loading is None or message.offset != self._offset:
            raise Broken("P4", f"a chunk at {message.offset}, not at {self._offset}")
        is_right = loading.data[message.offset : end] == message.data
        if not is_right and loading.state.position not in log.spoilt:
            raise Broken("P4", f"a chunk at {message.offset} is not the snapshot's")
        if self._is_prompt and loading is not log.snapshot:
            raise Broken("P4", f"{log.group}: {loading.state} is sent, but it is {log.snapshot}")
        self._offset = end
        if end == len(loading.data):
            self._loading = None

    def entries(self, log: Log, message: Entries) -> None:
        if self._loading is not None:
            raise Broken("P4", f"{log.group}: entries before the snapshot's end")
        if self._is_prompt and self._position < log.floor:
            text = f"entries behind {self._position} are sent, and the floor is {log.floor}"
            raise Broken("P4", f"{log.group}: {text}")
        for encoded in message.entries:
            entry = decode_entry(encoded)
            if entry.predecessor != self._position:
                raise Broken("P4", f"{log.group}: {entry.position} is sent behind {self._position}")
            if log.encoded_at(entry.position) != encoded:
                raise Broken("P1", f"{log.group}: entry {entry.position} is sent and not durable")
            self._position = entry.position


def _announced(log: Log | None, joined: Joined) -> Snapshot:
    found = log.snapshots.get(joined.position) if log is not None else None
    if found is None:
        raise Broken("P1", f"{joined}: there is no such snapshot")
    if joined.snapshot != (found.state.chain, found.state.size, found.state.digest):
        raise Broken("P4", f"{joined} is not {found.state}")
    return found
