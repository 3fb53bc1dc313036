"""Listening sockets: opening them so that a killed server can come back at once, and accepting.

Rules
-----
- ``SO_REUSEADDR`` (trio sets it): connections of a killed server that linger in TIME_WAIT must not keep
  its successor off the port.  It does not let two servers listen on one port.
- Dead peers are found by TCP keepalive.  Idle clients are blocking programs that answer no pings;
  their kernels answer keepalives.  No ``TCP_USER_TIMEOUT``: it would also kill
  a live client that reads slowly.
- A process that is out of file descriptors or memory goes on with those it has, and tries again.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable, Sequence

import trio

from ..config import Address
from .log import logger

# A peer that vanished without a word is noticed after 60 + 4 * 15 = 120 s.
KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
# Long enough to spend no noticeable time on failing, short enough that nobody waits for it.
ACCEPT_RETRY_S = 0.1
OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class StartError(Exception):
    """The server cannot start; the message is one line that says why and what to do."""


async def open_listeners(addresses: Sequence[Address]) -> list[trio.SocketListener]:
    """Listen on all of *addresses*; a name may stand for several sockets (IPv4 and IPv6).

    Raises:
        StartError: one of them cannot be listened on; none is then.
    """
    listeners: list[trio.SocketListener] = []
    for address in addresses:
        try:
            listeners += await trio.open_tcp_listeners(address.port, host=address.host)
        except OSError as error:
            for listener in listeners:
                listener.socket.close()
            raise StartError(f"cannot listen on {address}: {_reason(error)}") from error
    return listeners


def _reason(error: OSError) -> str:
    # trio wraps what the system said; socket.gaierror and the rest carry it in strerror.
    if error.errno == errno.EADDRINUSE:
        return "the port is in use; is another score-server running? Port 0 takes a free one"
    return error.strerror or str(error)


def url_of(listener: trio.SocketListener) -> str:
    """What a client on this machine or network would connect to."""
    host, port = listener.socket.getsockname()[:2]
    return f"score://{Address(host, port)}"


async def accept(
    listener: trio.SocketListener,
    begin: Callable[[trio.SocketStream], Awaitable[None]],
) -> None:
    """Accept for ever, and ``await begin(stream)`` each (it is to return soon)."""
    exhausted = False
    while True:
        try:
            stream = await listener.accept()
        except OSError as error:
            if error.errno not in OUT_OF_RESOURCES:
                raise
            if not exhausted:
                logger.error("cannot accept connections for now: %s", error.strerror)
            exhausted = True
            await trio.sleep(ACCEPT_RETRY_S)
            continue
        if exhausted:
            logger.info("accepting connections again")
            exhausted = False
        await begin(stream)


def tune(sock: trio.socket.SocketType) -> str:
    """Set the options of a connection's socket; returns the peer's address for the log.

    ``TCP_NODELAY`` is set by trio.

    Raises:
        OSError: the peer is gone already.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE.items():
        if hasattr(socket, option):  # macOS spells the first one differently
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    host, port = sock.getpeername()[:2]
    return str(Address(host, port))
