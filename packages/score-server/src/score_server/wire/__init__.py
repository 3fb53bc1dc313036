"""The protocol without I/O: frames, messages, limits, the states of both sides.

Start at ``connection.Connection``; every message is in ``messages``, what is normative in
``docs/protocol.md``.
"""

from __future__ import annotations

from .codec import DecodeError, EncodeError, Plain, decode, encode
from .connection import (
    CONNECTION_CLOSED,
    NEED_DATA,
    Connection,
    Role,
    Signal,
    error_message,
)
from .entry import Entry, decode_entry, encode_entry, next_chain
from .errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from .limits import Limits
from .messages import PROTOCOL_VERSION, Message

__all__ = [
    "CONNECTION_CLOSED",
    "NEED_DATA",
    "PROTOCOL_VERSION",
    "Connection",
    "DecodeError",
    "EncodeError",
    "Entry",
    "Limits",
    "LocalProtocolError",
    "Message",
    "Plain",
    "ProtocolError",
    "RemoteProtocolError",
    "Role",
    "Signal",
    "decode",
    "decode_entry",
    "encode",
    "encode_entry",
    "error_message",
    "next_chain",
]
