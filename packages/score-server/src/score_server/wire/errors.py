"""Errors by culprit: who broke the protocol, this program or the peer.

``LocalProtocolError`` is a bug on this side of the connection: nothing was sent.
``RemoteProtocolError`` is the peer's fault: it carries the code and the text of the ``Error``
message that a server answers before it closes (a client just closes).
"""

from __future__ import annotations


class ProtocolError(Exception):
    """Root of what the wire layer raises about the protocol."""


class LocalProtocolError(ProtocolError):
    """This side tried to send what it must not; nothing was sent and no state has changed."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol or a limit; the connection is of no use any more.

    *code*: a value of ``Error.code`` (``messages.py``); *text*: what was wrong, for people.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return f"{self.text} (error {self.code})"
