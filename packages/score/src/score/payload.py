"""A change on the wire: ``[operations version, operation, ...]``, encoded in the wire's CBOR subset.

The server never looks inside.  What cannot be read here stops the view that meets it
(``ucore.CannotApplyError``); nothing is ever skipped.
"""

from __future__ import annotations

from score_server.wire import codec
from ucore.errors import MalformedUpdateError
from ucore.updatable import Update

# The deepest value that ucore stores (64 containers), inside an operation, inside a change, and
# each level of a value is one array.
PAYLOAD_DEPTH_MAX = 64 + 8


def encode_update(update: Update) -> bytes:
    """The payload that says *update*, which ucore has made of values that it has checked."""
    return codec.encode_loosely(update.to_plain())


def decode_update(payload: bytes) -> Update:
    """The update that *payload* says.

    Raises:
        CannotApplyError: it says nothing that this program understands.
    """
    try:
        # Loosely: ucore looks at every value anyway, and refuses what is not plain.
        plain = codec.decode_loosely(payload, depth_max=PAYLOAD_DEPTH_MAX)
    except codec.DecodeError as error:
        raise MalformedUpdateError(f"a change's payload cannot be read: {error}") from error
    return Update.from_plain(plain)
