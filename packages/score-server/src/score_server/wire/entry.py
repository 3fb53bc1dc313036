"""An entry: one change with its place in a group's order, in the one encoding that is hashed.

``[position, predecessor, time_ms, session, seq, label, payload]`` as a CBOR array in the shortest
form.  It is encoded once, by the server that orders it; from then on the bytes are the truth: they are stored,
spliced into frames and hashed as they are.

The chain at a position is ``BLAKE2b-128(chain at the predecessor || entry bytes)``; before the
first entry it is the group's incarnation.  Two histories with equal chains are equal.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

CHAIN_BYTES = 16
INCARNATION_BYTES = 16
SESSION_BYTES = 16


class Entry(NamedTuple):
    """One change in its place.  *time_ms*: the server's clock, milliseconds since 1970 UTC."""

    position: int
    predecessor: int
    time_ms: int
    session: bytes
    seq: int
    label: str
    payload: bytes


def next_chain(chain: bytes, encoded: bytes) -> bytes:
    """The chain at an entry, from the chain at its predecessor and the entry's bytes."""
    return hashlib.blake2b(chain + encoded, digest_size=CHAIN_BYTES).digest()
