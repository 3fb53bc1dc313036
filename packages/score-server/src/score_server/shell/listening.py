"""Listening sockets: opening them so that a killed server can come back at once, and accepting.

Rules
-----
- ``SO_REUSEADDR``: connections of a killed server that linger in TIME_WAIT must not keep its
  successor off the port.  It does not let two servers listen on one port.
- ``TCP_NODELAY``: what is sent is an answer somebody waits for, and already as large as it gets.
- ``TCP_NOTSENT_LOWAT`` where there is one: a slow reader's backlog stays in the log instead of the
  kernel's memory.
- Dead peers are found by TCP keepalive.  Idle clients are blocking programs that answer no pings;
  their kernels answer keepalives.  No ``TCP_USER_TIMEOUT``: it would also kill a live client that
  reads slowly.
- Whatever ``accept`` fails with is one connection's trouble or a shortage (descriptors, memory): the server
  goes on with the connections it has, and tries again.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable, Sequence

import trio

from ..config import Address
from .log import logger

BACKLOG = 1024
# A peer that vanished without a word is noticed after 60 + 4 * 15 = 120 s.
TCP_OPTIONS = {
    "TCP_NODELAY": 1,
    "TCP_NOTSENT_LOWAT": 16 * 1024,  # trio's choice, after measurements of others
    "TCP_KEEPIDLE": 60,
    "TCP_KEEPINTVL": 15,
    "TCP_KEEPCNT": 4,
}
# Long enough to spend no noticeable time on failing, short enough that nobody waits for it.
ACCEPT_RETRY_S = 0.1


class StartError(Exception):
    """The server cannot start; the message is one line that says why and what to do."""


async def open_listeners(addresses: Sequence[Address]) -> list[socket.socket]:
    """Listen on all of *addresses*; a name may stand for several sockets (IPv4 and IPv6).

    Raises:
        StartError: one of them cannot be listened on; none is then.
    """
    listeners: list[socket.socket] = []
    for address in addresses:
        try:
            found = await trio.socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, kind, protocol, _, where in found:
                listener = socket.socket(family, kind, protocol)
                listeners.append(listener)
                _listen(listener, where)
        except OSError as error:
            close_all(listeners)
            raise StartError(f"cannot listen on {address}: {_reason(error)}") from error
    return listeners


def _listen(listener: socket.socket, where: tuple[object, ...]) -> None:
    listener.setblocking(False)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if listener.family == socket.AF_INET6:
        # Or [::]:7737 would take the port of 0.0.0.0:7737 as well.
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind(where)
    listener.listen(BACKLOG)


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use; is another score-server running? Port 0 takes a free one"
    return error.strerror or str(error)


def close_all(listeners: Sequence[socket.socket]) -> None:
    for listener in listeners:
        trio.lowlevel.notify_closing(listener)
        listener.close()


def url_of(listener: socket.socket) -> str:
    """What a client on this machine or network would connect to."""
    host, port = listener.getsockname()[:2]
    return f"score://{Address(host, port)}"


async def accept(
    listener: socket.socket, begin: Callable[[socket.socket], Awaitable[None]]
) -> None:
    """Accept for ever, and ``await begin(sock)`` each (it is to return soon, and owns *sock*)."""
    in_trouble = False
    while True:
        await trio.lowlevel.wait_readable(listener)
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            continue  # it went away before we came
        except OSError as error:
            if not in_trouble:
                logger.error("cannot accept connections for now: %s", error.strerror)
            in_trouble = True
            await trio.sleep(ACCEPT_RETRY_S)
            continue
        if in_trouble:
            logger.info("accepting connections again")
            in_trouble = False
        await begin(sock)


def tune(sock: socket.socket) -> str:
    """Set the options of a connection's socket; returns the peer's address for the log.

    Raises:
        OSError: the peer is gone already.
    """
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in TCP_OPTIONS.items():
        if hasattr(socket, option):  # not every system has them all
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    host, port = sock.getpeername()[:2]
    return str(Address(host, port))
