"""A change on the wire: ``[operations version, operation, ...]``, encoded in the wire's CBOR subset.

The server never looks inside.  What cannot be read here stops the view that meets it
(``ucore.CannotApplyError``); nothing is ever skipped.
"""

from __future__ import annotations

from score_server.wire import codec
from score_server.wire.heads import ARRAYS, INTEGERS
from ucore.codes import PUT_MANY
from ucore.errors import MalformedUpdateError
from ucore.updatable import Update

# The deepest value that ucore stores (64 containers), inside an operation, inside a change, and
# each level of a value is one array.
PAYLOAD_DEPTH_MAX = 64 + 8

# What stands before the one operation of an update.
_UPDATE_OF_ONE = ARRAYS[2] + INTEGERS[Update.version]


def encode_update(update: Update) -> bytes:
    """The payload that says *update*, which ucore has made of values that it has checked."""
    if update.puts is None:
        return codec.encode_loosely(update.to_plain())
    target, content = update.puts
    return _UPDATE_OF_ONE + codec.encode_with_pairs([PUT_MANY, *target], content)


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
