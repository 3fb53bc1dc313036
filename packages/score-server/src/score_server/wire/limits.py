"""Every quantity has a limit, and the server announces all of them in its ``Welcome``."""

from __future__ import annotations

from typing import NamedTuple

KIB, MIB, GIB = 1024, 1024**2, 1024**3

# Before Hello has been answered nobody may send more than this in one frame.
HELLO_FRAME_BYTES_MAX = 4 * KIB


class Limits(NamedTuple):
    """What one server allows.  On the wire: the array of these numbers in this order.

    Later protocol versions add fields at the end.
    """

    frame_bytes_max: int = 8 * MIB
    """A frame's body, both ways."""
    change_bytes_max: int = 4 * MIB
    """A submission's payload."""
    name_bytes_max: int = 255
    """A group's name and a client's label, in UTF-8 bytes."""
    connections_max: int = 4096
    """Connections of all clients together."""
    channels_max: int = 1024
    """Channels open at one time on one connection."""
    unsettled_max: int = 1024
    """Submissions of one session whose answers the client has not declared settled."""
    pinned_max: int = 1024
    """Outcomes of one session that are kept because they were asked for; the oldest go first."""
    sessions_max: int = 100_000
    """Sessions of all clients together."""
    retention_s: int = 24 * 3600
    """How long an unused session, and with it the outcomes of its submissions, is kept."""
    hello_timeout_s: int = 10
    """How long a connection may take until its Hello."""
    credit_bytes_max: int = 16 * MIB
    """Credit that may be outstanding on one channel."""
    turn_lease_ms: int = 500
    """How long a turn lasts at most; a dead holder costs the others this long."""
    frame_items_max: int = 8192
    """A frame's messages, and the entries and groups in them or asked for, counted together.

    Each costs its receiver time however short it is (up to 20 us in the server's core): this, and not
    the bytes, bounds what the worst frame costs.  Honest frames of a quarter of a MiB pass.
    """
    snapshot_bytes_max: int = 4 * GIB
    """A group's snapshot."""
    snapshot_chunk_bytes_max: int = 256 * KIB
    """A snapshot travels in chunks of at most this: one commit each, so that changes need not wait."""
