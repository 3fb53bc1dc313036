"""The server's ends of simulated connections: what a kernel's sockets would do, and ears on the wire.

A socket holds what has arrived (the scheduler moves bytes out of the pipe, ``World.to_server``) and takes only as much as
fits into the pipe to the client (``window``).  All that goes through is decoded a second time and told to the oracle, so
what the server says is judged by the bytes, not by what its parts believe.
"""

from __future__ import annotations

import errno
import random
import select
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from score_server.wire import connection as wire
from score_server.wire.errors import RemoteProtocolError
from score_server.wire.messages import SHUTTING_DOWN, Error, Message, SessionOpened, Submit
from score_server.wire.states import ConnectionState

from .network import Connection
from .oracle import Violation

if TYPE_CHECKING:
    from .world import World

INBOX_BYTES_MAX = 64 * 1024


class Ears:
    """Decodes what goes to and fro on one connection, and holds it against the promises.

    The broken promise is given to *blame* and not raised: it must not end up in the product's handlers.
    """

    def __init__(self, world: World, number: int, blame: Callable[[Violation], None]) -> None:
        self._oracle = world.oracle
        self._number = number
        self._blame = blame
        self._heard = wire.Connection(wire.Role.SERVER, world.limits)
        self._said = wire.Connection(wire.Role.CLIENT, world.limits)
        self._said.standing = self._heard.standing  # one conversation
        self._session: bytes | None = None
        self.goodbye: Error | None = None

    def hear(self, data: bytes) -> None:
        self._judge(self._heard, data, self._submitted, "a client")

    def say(self, data: bytes) -> None:
        self._judge(self._said, data, self._answered, "the server")

    def _judge(
        self,
        protocol: wire.Connection,
        data: bytes,
        note: Callable[[Message], None],
        who: str,
    ) -> None:
        is_over = protocol.standing.connection is ConnectionState.ENDED
        protocol.receive_data(data)
        try:
            if is_over and protocol is self._said:
                self._oracle.fail("protocol", f"{len(data)} bytes are sent behind a goodbye")
            while not isinstance(message := protocol.next_message(), wire.Signal):
                note(message)
        except RemoteProtocolError as error:
            self._blame(Violation("protocol", f"{who} broke the protocol: {error}"))
        except Violation as violation:
            self._blame(violation)

    def _submitted(self, message: Message) -> None:
        if type(message) is Submit and self._session is not None:
            self._oracle.submitted(self._session, message)

    def _answered(self, message: Message) -> None:
        if type(message) is SessionOpened:
            self._session = message.session
        if type(message) is Error and message.channel == 0:
            self.goodbye = message
        self._oracle.answered(self._session, self._number, message)

    @property
    def was_told_to_go(self) -> bool:
        return self.goodbye is not None and self.goodbye.code == SHUTTING_DOWN


class SimFile:
    """What listening and connected sockets have in common."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.is_closed = False

    def fileno(self) -> int:
        return -1 if self.is_closed else self._number

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def setsockopt(self, *_: object) -> None:
        self._check()

    def _check(self) -> None:
        if self.is_closed:
            raise OSError(errno.EBADF, "Bad file descriptor")


class SimSocket(SimFile):
    """The server's end of *connection*."""

    def __init__(self, world: World, number: int, connection: Connection, ears: Ears) -> None:
        super().__init__(number)
        self._world = world
        self.connection = connection
        self.ears = ears
        self._inbox = bytearray()
        self.end: str | None = None  # as ``Pipe.end``, once it has arrived
        self.ended_at = 0.0
        self._said_eof = False
        self._lost = 0  # bytes on a half-open connection: they take room, and never arrive
        self.is_dead = False  # the process is: nothing that it still does can be seen

    # ------------------------------------------------------------ for the scheduler

    @property
    def takes_more(self) -> bool:
        return not self.is_closed and self.end is None and len(self._inbox) < INBOX_BYTES_MAX

    def arrive(self, data: bytes) -> None:
        """*data*, or the end when there is none."""
        if data:
            self._inbox += data
        else:
            self.end = self.connection.to_server.end
            self._answer_from_nobody()
            self.ended_at = self._world.now

    def readable(self) -> bool:
        return bool(self._inbox) or self.end is not None

    def writable(self) -> bool:
        return self._room() > 0 or self.end == "reset"

    def events(self) -> int:
        """As ``epoll`` tells them."""
        found = select.EPOLLIN if self.readable() else 0
        if self.writable():
            found |= select.EPOLLOUT
        if self.end == "reset":
            found |= select.EPOLLERR | select.EPOLLHUP
        elif self.end == "eof" and self._said_eof:
            found |= select.EPOLLHUP
        return found

    def _answer_from_nobody(self) -> None:
        """The kernel of a client that has closed says that nobody is there for what still comes."""
        if self.connection.to_client.data and self.connection.client_closed:
            self.end = "reset"

    def _room(self) -> int:
        return self.connection.room - self._lost

    # ------------------------------------------------------------ for the server

    def getpeername(self) -> tuple[str, int]:
        self._check()
        if self.end == "reset":
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        return "192.0.2.1", self.connection.number

    def recv(self, size: int) -> bytes:
        self._check()
        if self._inbox:
            data = bytes(self._inbox[:size])
            del self._inbox[:size]
            self.ears.hear(data)
            return data
        if self.end == "reset":
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        if self.end == "eof":
            return b""
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    def send(self, data: bytes | memoryview) -> int:
        self._check()
        if self.is_dead:
            return len(data)
        if self._said_eof or self.end == "reset":
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        room = self._room()
        if data and room <= 0:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        taken = bytes(data[: self._world.piece(min(len(data), room))])
        self.ears.say(taken)
        pipe = self.connection.to_client
        if pipe.swallows:
            self._lost += len(taken)
        pipe.put(taken)
        if self.end is not None:
            self._answer_from_nobody()
        return len(taken)

    def shutdown(self, how: int) -> None:
        self._check()
        if not self.is_dead:
            self._said_eof = True
            self.connection.to_client.finish("eof")

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        if self.is_dead:
            return
        connection = self.connection
        connection.server_closed = True
        if self._inbox or connection.to_server.data:
            # As a kernel does it: the peer is told that what it has said was never read, and
            # that may overtake what was sent to it.
            connection.to_client.cut(self._world.choose.choice((0, len(connection.to_client.data))))
        connection.to_client.finish("eof")
        self._world.forget_if_over(connection)


class SimListener(SimFile):
    """A listening socket, and the connections that nobody has accepted yet."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.backlog: deque[SimSocket] = deque()
        self.shortage = 0  # how often accepting will fail for want of descriptors

    def readable(self) -> bool:
        return bool(self.backlog)

    def writable(self) -> bool:
        return False

    def getsockname(self) -> tuple[str, int]:
        return "192.0.2.2", 1

    def accept(self) -> tuple[SimSocket, tuple[str, int]]:
        self._check()
        if not self.backlog:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        if self.shortage:
            self.shortage -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        sock = self.backlog.popleft()
        if sock.end == "reset":
            sock.close()
            raise ConnectionAbortedError(errno.ECONNABORTED, "Software caused connection abort")
        return sock, ("192.0.2.1", sock.connection.number)

    def close(self) -> None:
        self.is_closed = True
        while self.backlog:
            self.backlog.popleft().close()


class SimEpoll(SimFile):
    """In the place of ``select.epoll``, level-triggered; what is ready comes in any order."""

    def __init__(self, number: int, chance: random.Random) -> None:
        super().__init__(number)
        self._chance = chance
        self._registered: dict[int, tuple[SimSocket, int]] = {}

    def register(self, fd: SimSocket, eventmask: int) -> None:
        self._check()
        fd._check()
        assert fd.fileno() not in self._registered
        self._registered[fd.fileno()] = fd, eventmask

    def modify(self, fd: SimSocket, eventmask: int) -> None:
        self._check()
        assert fd.fileno() in self._registered
        self._registered[fd.fileno()] = fd, eventmask

    def unregister(self, fd: SimSocket) -> None:
        self._check()
        del self._registered[fd.fileno()]

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        self._check()
        assert timeout == 0, "nobody else runs while this waits"
        found = [(fd, ready) for fd in self._registered if (ready := self._ready(fd))]
        self._chance.shuffle(found)
        return found

    def readable(self) -> bool:
        return any(map(self._ready, self._registered))

    def writable(self) -> bool:
        return False

    def _ready(self, fd: int) -> int:
        sock, mask = self._registered[fd]
        return sock.events() & (mask | select.EPOLLERR | select.EPOLLHUP)

    def close(self) -> None:
        self.is_closed = True
