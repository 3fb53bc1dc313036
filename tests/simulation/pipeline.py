"""A client that speaks the wire's messages itself, and does not wait for answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import score
from score.blocking import Address, Deadline, Link
from score.conversation import ConnectionLost, SessionLost
from score_server.wire import codec
from score_server.wire import messages as wire

from .group_log import KINDS
from .network import URL
from .oracle import Call, Name

if TYPE_CHECKING:
    from .plans import Op
    from .workload import Process


class Pipeline:
    """Several submissions, each of which follows the one before."""

    COUNT = 4

    def __init__(self, process: Process, op: Op) -> None:
        self.process = process
        self.op = op
        self.session: bytes | None = None
        self.sits_s = 0.0  # how long it sits on its turn
        self.calls: dict[int, Call] = {}
        self.open: dict[int, wire.Submit] = {}

    def run(self) -> None:
        world, around = self.process.world, self.process.around
        world.note(f"{self.process.name}: {self.op.what} {self.op.group} {self.op.tag}")
        deadline = Deadline.after(world.timeout_s, around.monotonic)
        healing = world.healing
        try:
            while not self.calls or self.open:
                try:
                    with Link(around, Address(URL), self.process.name, deadline) as link:
                        self.converse(link, deadline)
                except ConnectionLost:
                    around.sleep(0.05)
                    deadline.remaining()
        except score.DeadlineExceeded as error:
            if self.sits_s < world.timeout_s:
                self.process.check_patience(healing, f"pipeline: {error}")
        except SessionLost:
            assert self.session is not None
            for call in self.calls.values():
                if call.state == "running":
                    call.state = "died"
                    world.oracle.resolved(call, call.names[-1], "expired", None)
                    call.state = "expired"
        except score.GroupReplacedError:
            if not (world.oracle.era or world.oracle.deletions[self.op.group]):
                raise
        except score.ServerError:
            if self.op.group not in world.disk.has_rotted:
                raise
        finally:
            for call in self.calls.values():
                if call.state == "running":
                    call.state = "died"

    def converse(self, link: Link, deadline: Deadline) -> None:
        talk = link.conversation
        talk.send(wire.OpenSession(self.session))
        opened = link.ask(("session", 0), deadline)
        assert isinstance(opened, wire.SessionOpened)
        self.session = opened.session
        channel = talk.next_number()
        talk.send(wire.Join(channel, self.op.group, None, self.process.world.keeps(self.op.group)))
        joined = link.ask(("joined", channel), deadline, channel)
        assert isinstance(joined, wire.Joined)
        if not self.calls:
            self.plan(channel, joined.head)
            if self.op.what == "hold":
                self.take_turn(link, channel, deadline)
        for message in self.open.values():
            talk.send(message._replace(channel=channel))
        for seq in list(self.open):
            self.answered(seq, link.ask(("submit", seq), deadline, channel))
        talk.bye(self.COUNT)  # else what it had not seen is kept for it
        link.flush(deadline)

    def take_turn(self, link: Link, channel: int, deadline: Deadline) -> None:
        """Have a turn, and sometimes sit on it for longer than its lease."""
        request = link.conversation.next_number()
        link.conversation.send(wire.AskTurn(channel, request))
        link.ask(("request", request), deadline, channel)
        self.sits_s = (0.0, 0.2, 30.0)[self.op.numbers[0] % 3]
        if self.sits_s:
            self.process.around.sleep(self.sits_s)

    def plan(self, channel: int, head: int) -> None:
        assert self.session is not None
        oracle, op = self.process.world.oracle, self.op
        seen = 0 if op.numbers[1] % 3 == 0 else head
        declaration: codec.Plain = [
            0,
            [KINDS[op.group[0]], None],
        ]  # as all do, so that tools know what it is
        for seq in range(1, self.COUNT + 1):
            tag = f"{op.tag}p{seq}"
            is_map = op.group[0] == "m"
            operation: codec.Plain = [1, 0, 0, f"k{seq % 3}", tag] if is_map else [16, 0, 0, tag]
            payload = codec.encode([1, declaration, operation])
            condition = wire.STRICT if seq == 1 else wire.INTENT
            self.open[seq] = wire.Submit(channel, seq, 0, seen, condition, seq - 1, payload)
            call = oracle.begin(self.process.name, f"{op.what} {op.group} {tag}", op.group)
            call.view = -call.number  # a view of its own, seen only here
            name: Name = (self.session, seq)
            call.names.append(name)
            self.process.world.known_names.add(name)
            self.calls[seq] = call

    def answered(self, seq: int, answer: object) -> None:
        call, oracle = self.calls[seq], self.process.world.oracle
        del self.open[seq]
        if isinstance(answer, wire.Taken):
            oracle.done(call, None, None, answer.position)
        else:
            assert isinstance(answer, wire.Refused)
            oracle.nothing(call, f"refused {answer.reason}")
