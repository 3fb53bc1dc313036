"""Bytes to and from one peer, over a socket: what trio's streams do, plus a send that does not wait.

Most answers fit into the socket's buffer.  Sending them at once, in the step that made them, saves
waking a task for each (measured: 20 of 71 us of a ping's round trip).  trio's streams have no such
call, so this works on the plain socket and asks trio only to wait.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Protocol

import trio

RECEIVE_BYTES = 64 * 1024


class Transport(Protocol):
    """What a link needs.  ``SocketTransport`` is the real one.

    All but ``close`` raise ``trio.BrokenResourceError`` when the peer is gone.
    """

    async def receive(self) -> bytes:
        """Some bytes; b"" when no more will come."""
        ...

    def send_now(self, data: bytes) -> int:
        """Send as much of *data* as can be sent without waiting; returns how many bytes."""
        ...

    async def send_all(self, data: bytes) -> None:
        """Send *data*; only one task at a time may, and none may ``send_now`` meanwhile."""

    def send_eof(self) -> None:
        """Say that nothing more will be sent; what the peer sends can still be received."""

    def close(self) -> None:
        """Idempotent; whoever waits here is woken with an error."""


class SocketTransport:
    """A connected, non-blocking TCP socket, which it owns from now on."""

    __slots__ = ("_sock",)

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def receive(self) -> bytes:
        # Waiting first is one system call less for whoever asks and waits for the answer, and
        # lets others run between two receives of whoever sends all the time.
        while True:
            try:
                await trio.lowlevel.wait_readable(self._sock)
                return self._sock.recv(RECEIVE_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    def send_now(self, data: bytes | memoryview) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def send_all(self, data: bytes) -> None:
        with memoryview(data) as view:
            sent = 0
            while sent < len(data):
                await trio.lowlevel.wait_writable(self._sock)
                sent += self.send_now(view[sent:])

    def send_eof(self) -> None:
        with contextlib.suppress(OSError):  # the peer is gone: it needs no telling
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
