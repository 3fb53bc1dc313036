"""A small world that makes histories in which every promise is kept, for tests and benchmarks of the checker.

Each group is a counter that does not go below 0: "down" at 0 fails, and is recorded.  Clients call, the
server orders, clients are told, in an interleaving that the seed decides; some give up and ask later.
"""

from __future__ import annotations

import hashlib
import random
from typing import Any

from score.testing.history import Ask, History, LogEntry, Operation, State, Sync, Told


class Group:
    """One group at the server: its log, and the count that it folds to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.log: list[LogEntry] = []
        self.count = 0
        self.chain = "start"

    @property
    def head(self) -> int:
        return self.log[-1].position if self.log else 0

    def append(self, position: int, session: str, seq: int, by: int) -> bool:
        """Order a change; whether it failed where it landed."""
        failed = self.count + by < 0
        before, self.count = self.count, self.count if failed else self.count + by
        self.chain = hashlib.md5(f"{self.chain}{session}{seq}".encode()).hexdigest()
        self.log.append(
            LogEntry(
                self.name, position, self.head, session, seq,
                self.chain, str(self.count), failed, self.count != before,
            )
        )  # fmt: skip
        return failed


class Caller:
    """One client: idle, or in a call of which *todo* are the steps to come."""

    def __init__(self, world: World, name: str, session: str) -> None:
        self.world, self.name, self.session = world, name, session
        self.seq = self.number = 0
        self.views = dict.fromkeys(world.groups, 0)
        self.chains: dict[str, str | None] = dict.fromkeys(world.groups)
        self.call: dict[str, Any] | None = None
        self.unknown: int | None = None

    def view(self, group: str) -> int:
        return list(self.views).index(group)

    def step(self) -> None:
        """The next thing that this client, or the server for it, does."""
        call = self.call
        if call is None:
            self.begin()
        elif call["step"] == "out":
            self.at_server(call)
        else:
            self.end(call)

    def begin(self) -> None:
        choose = self.world.choose
        group = choose.choice(list(self.views))
        call = self.call = {"group": group, "begun": self.world.tick(), "step": "out"}
        if self.unknown is not None:
            call["what"] = "ask"
        elif choose.random() < 0.15:
            call["what"] = "sync"
        else:
            self.seq += 1
            self.number += 1
            call |= {
                "what": "change",
                "by": choose.choice([1, 1, -1, -1]),
                "strict": choose.random() < 0.3,
                "seen": self.views[group],
            }
            if choose.random() < 0.03:
                call["gives up"] = choose.random() < 0.5  # before, or after it was ordered

    def at_server(self, call: dict[str, Any]) -> None:
        call["step"] = "back"
        group = self.world.groups[call["group"]]
        call["head"], call["chain"] = group.head, group.chain if group.log else None
        if call["what"] == "change" and not call.get("gives up"):
            if call["strict"] and call["seen"] != group.head:
                call["told"] = "not head"
                return
            position = self.world.next_position()
            failed = group.append(position, self.session, self.seq, call["by"])
            call["told"] = "failed" if failed else "taken"
            call["head"], call["chain"] = position, group.chain

    def end(self, call: dict[str, Any]) -> None:
        self.call = None
        world, name = self.world, call["group"]
        ended = world.tick()
        if call["what"] == "ask":
            assert self.unknown is not None
            self.ask(self.unknown, call["begun"], ended)
            self.unknown = None
            return
        told: Told = call.get("told", "unknown")
        if "gives up" in call:
            told, self.unknown = "unknown", self.seq
        else:
            self.views[name], self.chains[name] = call["head"], call["chain"]
        at, chain = self.views[name], self.chains[name]
        if call["what"] == "sync":
            sync = Sync(self.name, self.view(name), name, call["begun"], ended, at, chain)
            world.history.syncs.append(sync)
            return
        place = None if told == "unknown" else call["head"]
        world.history.operations.append(
            Operation(
                self.name, self.number, self.view(name), name, call["begun"], ended, self.session, self.seq,
                call["seen"], call["strict"], told, place, at, chain,
            )
        )  # fmt: skip

    def ask(self, seq: int, begun: int, ended: int) -> None:
        places = [
            entry.position
            for group in self.world.groups.values()
            for entry in group.log[-200:]
            if (entry.session, entry.seq) == (self.session, seq)
        ]
        verdict = "taken" if places else "not taken"
        ask = Ask(self.name, begun, ended, self.session, seq, verdict, *(places or [None]))  # type: ignore[arg-type]
        self.world.history.asks.append(ask)

    def finish(self) -> None:
        """Sync each view, and tell what it holds."""
        for group in self.world.groups.values():
            begun = self.world.tick()
            at, chain = group.head, group.chain if group.log else None
            moment = self.world.tick()
            self.world.history.syncs.append(
                Sync(self.name, self.view(group.name), group.name, begun, moment, at, chain)
            )
            self.world.history.states.append(
                State(
                    self.name,
                    self.view(group.name),
                    group.name,
                    moment,
                    at,
                    chain,
                    str(group.count),
                    True,
                )
            )


class World:
    def __init__(self, seed: int, clients: int, groups: int) -> None:
        self.choose = random.Random(seed)
        self.history = History()
        self.groups = {name: Group(name) for name in [f"g{i}" for i in range(groups)]}
        self._time = self._position = 0
        self.callers = [Caller(self, f"c{i}", f"{i:032x}") for i in range(clients)]

    def tick(self) -> int:
        self._time += self.choose.randrange(1, 3)
        return self._time

    def next_position(self) -> int:
        """Positions have gaps."""
        self._position += self.choose.choice([1, 1, 1, 2])
        return self._position

    def run(self, operations: int) -> History:
        history = self.history
        while len(history.operations) < operations:
            self.choose.choice(self.callers).step()
        for caller in self.callers:
            while caller.call is not None or caller.unknown is not None:
                caller.step()
        for caller in self.callers:
            caller.finish()
        history.log = [entry for group in self.groups.values() for entry in group.log]
        return history


def good_history(seed: int, operations: int, clients: int = 5, groups: int = 3) -> History:
    """A history that keeps all promises; equal for equal arguments."""
    return World(seed, clients, groups).run(operations)
