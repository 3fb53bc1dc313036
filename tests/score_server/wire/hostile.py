"""Frames about any message: as it should be, with other values in its fields, with spoiled bytes."""

from __future__ import annotations

import random
from typing import Any

import cbor2

from score_server.wire.messages import CODES

from .golden import GOLDEN

MESSAGES = {type(message).__name__: message for message, _ in GOLDEN.values()}
VARIANTS = 12
# Values that some field of some message may hold, or just not.
EDGES: list[Any] = [
    0, 1, 2, 3, 23, 24, 255, 256, 2**31 - 1, 2**31, 2**63 - 1, 2**63, -1, None, True, False, "", "g", "h",
    "n" * 255, "n" * 256, b"", b"x", b"s" * 16, b"x" * 4000, b"x" * 4001, [], [1], 1.5,
    [b"i" * 16, 1, b"c" * 16], ["a"] * 64, ["a"] * 65, [b"e"] * 500, [["g", b"i" * 16, 1]] * 20, [1] * 13,
]  # fmt: skip


def frame(plain: object) -> bytes:
    body = cbor2.dumps(plain)
    return len(body).to_bytes(4, "big") + body


def variants(kind: str, rng: random.Random, *edges: object) -> list[bytes]:
    """Frames about the message of that name; *edges* are further values that matter."""
    golden = [CODES[type(MESSAGES[kind])], *MESSAGES[kind]]
    found = [frame([golden]), frame([golden] * 3)]
    for _ in range(VARIANTS):
        plain = list(golden)
        for _ in range(rng.randint(1, 2)):
            plain[rng.randrange(1, len(plain))] = rng.choice([*EDGES, *edges])
        found.append(frame([golden, plain, plain]))
        spoiled = bytearray(frame([plain]))
        at = rng.randrange(4, len(spoiled))
        spoiled[at : at + rng.randint(0, 2)] = rng.randbytes(rng.randint(0, 2))
        spoiled[:4] = (len(spoiled) - 4).to_bytes(4, "big")
        found.append(bytes(spoiled))
    return found
