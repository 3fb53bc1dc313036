"""What the simulated programs do: the real client carries out their plans (``plans``).

Every value is written once, so that a change done twice shows.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import score
from score import SMap, SStack, SVec
from score.client import Client
from score.session import parse_token

from . import whole
from .baton import Task
from .network import URL, SimSurroundings
from .oracle import BEFORE, Answer, Call, Name, token_of
from .pipeline import Pipeline
from .plans import Op

if TYPE_CHECKING:
    from .world import World

HURRIED_ONE_IN = 8
WATCH_S = 3.0  # in which a watch has to be told of what there is
STRUCTURES: dict[str, Any] = {"m": SMap, "v": SVec, "s": SStack}

# Failures where a change landed; they are recorded, and change nothing.
FAILURES = (KeyError, IndexError, TypeError, score.StaleHandleError)
# "Nothing was changed."
NOTHING = (
    score.DeadlineExceeded, score.ConflictError, score.StoreFullError, score.NotTakenError,
    score.ConnectionFailed,
)  # fmt: skip


class Process:
    """One program and its client; when it is killed, another one goes on with its plan."""

    def __init__(self, world: World, number: int, plan: list[Op | None]) -> None:
        self.world = world
        self.number = number
        self.plan = plan
        self.at = 0
        self.life = 0
        self.doomed_sends = 0  # > 0: dies in the middle of that send
        self.sluggishness = world.sluggishness  # how often it does not go on at once
        self.held_until = 0.0
        self.window = world.window  # of its next connection
        self.client: Client | None = None
        self.structures: dict[str, Any] = {}
        self.checked: dict[str, int] = {}
        self.handles: dict[str, tuple[Any, dict[Any, Any]]] = {}  # a structure, and its containers
        self.views: dict[str, int] = {}  # the number of each structure, for histories
        self.last_view = 0
        self.call: Call | None = None
        self.watches: dict[
            str, tuple[Any, int, list[tuple[int, bool]]]
        ] = {}  # the watch, its start, what it saw
        self.eras: dict[str, int] = {}  # the oracle's when each watch began
        self.kept: list[object] = []  # no structure dies by the garbage collector's choice
        self.is_at_barrier = False
        self.found_disk_full = False
        self.was_refused = False  # by a server that is too busy, for the latest call
        self.hurried = False
        self.task: Task
        self.begin_life()

    @property
    def name(self) -> str:
        return f"c{self.number}.{self.life}"

    def begin_life(self) -> None:
        self.life += 1
        self.doomed_sends = 0
        self.client, self.structures, self.checked, self.call = None, {}, {}, None
        self.watches = {}
        self.task = Task(self.name, self.run)

    def died(self) -> None:
        if self.call is not None and self.call.state == "running":
            self.call.state = "died"

    # ------------------------------------------------------------ the program

    def run(self) -> None:
        self.around = SimSurroundings(self.world, self, f"{self.world.seed}/{self.name}")
        self.connect()
        while self.at < len(self.plan):
            op = self.plan[self.at]
            if op is not None and op.late and not self.world.healing:
                self.task.pause("the end of the faults", lambda: self.world.healing)
            self.at += 1
            if op is not None:
                self.do(op)
        self.task.pause("the end of the faults", lambda: self.world.healing)
        for call in self.world.oracle.calls:
            if call.state in ("unknown", "died"):
                self.ask(call)
        self.is_at_barrier = True
        self.task.pause("the others", self.world.all_at_barrier)
        if self.number == 0:
            self.world.settle(self)
        elif not self.world.is_settled:
            self.task.pause("the companions", lambda: self.world.is_settled)
        for group in self.world.damaged_groups():
            self.come_to_know_damage(group)
        for group in self.world.groups():
            self.come_to_rest(group, "sync")
            if self.number == 0 and not self.world.oracle.forgets:
                for what in ("compact", "reopen", "verify"):
                    self.come_to_rest(group, what)
        self.do(Op("groups", "", (0, 0, 0), "", True))

    def come_to_rest(self, group: str, what: str) -> None:
        self.do(Op(what, group, (0, 0, 0), "", True))
        if group not in self.structures:  # it had another history
            self.do(Op("sync", group, (0, 0, 0), "", True))

    def come_to_know_damage(self, group: str) -> None:
        """Whoever needs nothing that is damaged goes on; whoever does is told, whatever its other groups do."""
        world, oracle = self.world, self.world.oracle
        view, log = self.structures.get(group), oracle.log(group)
        needs_nothing = (
            view is not None
            and not (world.disk.sealed or group in world.disk.rotten_logs or self.was_refused)
            and incarnation_of(view) == log.incarnation
            and view.position >= max(1, log.floor)
            and not view._view.replica.suspect
        )
        number = len(oracle.calls)
        self.do(Op("sync", group, (0, 0, 0), "", True))
        call = oracle.calls[number]
        if needs_nothing and call.state != "done":
            oracle.fail("P8", f"{oracle.tell(call)}: the snapshot is damaged, its view was whole")
        if self.number == 0 and not oracle.forgets:
            self.do(Op("reopen", group, (0, 0, 0), "", True))

    def another_client(self) -> Client:
        """As a program makes one that waits for its server."""
        return Client(URL, self.world.timeout_s, self.name, 5.0, self.around)

    def connect(self) -> None:
        self.client = None
        self.client = self.patient_client()

    def patient_client(self) -> Client:
        """As a program makes one that tries again."""
        while True:
            healing = self.world.healing
            try:
                return self.another_client()
            except score.DeadlineExceeded as error:
                self.world.note(f"{self.name} cannot connect: {error}")
                self.check_patience(healing, str(error))

    def structure(self, group: str) -> Any:
        if group not in self.structures:
            keep = self.world.keeps(group)
            made = STRUCTURES[group[0]](self.client, group, keep_history=keep)
            self.kept.append(made)
            self.structures[group] = made
            self.last_view += 1
            self.views[group] = self.last_view
        return self.structures[group]

    def stop_watching(self, group: str) -> None:
        if group in self.watches:
            self.watches.pop(group)[0].close()

    def do(self, op: Op) -> None:
        """Carry out one operation, and hold what came of it against the promises."""
        oracle = self.world.oracle
        if op.what in ("ask", "ask_latest"):
            calls = [call for call in oracle.calls if call.names and not call.what == "ask"]
            calls = [call for call in calls if call.era == oracle.era] or calls
            if op.what == "ask_latest":  # what its author has not declared settled yet
                calls = [call for call in calls if call.group == op.group][-1:]
            open_ones = [call for call in calls if call.state in ("unknown", "died", "running")]
            if calls := (open_ones if open_ones and op.numbers[0] < 80 else calls):
                self.ask(calls[op.numbers[1] % len(calls)])
            return
        if op.what == "renew":
            assert self.client is not None
            for group in list(self.watches):
                self.stop_watching(group)
            self.client.close()
            self.structures = {}
            self.checked = {}
            self.connect()
            return
        self.hurried = False
        if op.what in ("pipeline", "hold"):
            Pipeline(self, op).run()
            return
        call = self.call = oracle.begin(self.name, f"{op.what} {op.group} {op.tag}", op.group)
        # A call in a hurry may time out although nothing fails.
        healing = self.world.healing and (op.late or bool(op.numbers[2] % HURRIED_ONE_IN))
        self.hurried = not op.late and not op.numbers[2] % HURRIED_ONE_IN
        self.world.note(f"{self.name}: {op.what} {op.group} {op.tag}")
        self.attempt(call, op, healing)
        call.ended = call.ended or oracle.tick()
        call.view = self.views.get(op.group, 0)
        call.is_sync = op.what in ("sync", "reopen", "look", "verify")
        self.world.note(f"{self.name}: -> {call.state} {call.what}")
        self.call = None
        if self.found_disk_full:
            self.react_to_a_full_disk(call, op)

    def react_to_a_full_disk(self, call: Call, op: Op) -> None:
        """Some programs ask whether it is so that nothing was changed, and some begin anew."""
        if op.numbers[0] % 2:
            self.ask(call)
        if op.numbers[1] % 2:
            self.do(op._replace(what="renew"))

    def hurry(self, op: Op) -> AbstractContextManager[None]:
        """Some calls have a deadline of their own, too short to be sure of."""
        assert self.client is not None
        if op.numbers[2] % HURRIED_ONE_IN or op.late:
            return nullcontext()
        # Some are over once the call has sent what it has to.
        steps = op.numbers[1] if op.numbers[0] % 3 else 0.001
        return self.client.deadline(self.world.step_s * steps)

    def attempt(self, call: Call, op: Op, healing: bool) -> None:
        oracle = self.world.oracle
        self.was_refused = self.found_disk_full = False
        try:
            if op.what in PLAIN:
                PLAIN[op.what](self, call, op)
                call.state = "done"
                return
            structure = self.structure(op.group)
            with self.hurry(op):
                answer = ACTIONS[op.what](structure, op)
            oracle.done(call, answer, None, structure.position, incarnation_of(structure))
        except score.OutcomeUnknown as error:
            call.state, call.token = "unknown", error.token
            name = parse_token(error.token)
            if name not in self.world.known_names:
                self.note_name(call, name)  # marked as sent, but the connection was dead before
            if name != call.names[-1]:
                oracle.fail("P7", f"{oracle.tell(call)}: the token is {error.token}")
            cause = error.__cause__
            # An answer on a channel that ended by damage comes without its entry.
            rotted = op.group in self.world.disk.has_rotted
            if isinstance(cause, score.ProtocolError) and not rotted:
                oracle.fail("protocol", f"{oracle.tell(call)}: {cause}")
            if isinstance(cause, score.GroupReplacedError):
                self.rejoin(call, op.group, cause)
            elif not (rotted and isinstance(cause, score.GroupDamagedError | score.ProtocolError)):
                self.check_patience(healing, f"{oracle.tell(call)}: {error}")
        except NOTHING as error:
            oracle.nothing(call, type(error).__name__)
            self.found_disk_full = isinstance(error, score.StoreFullError)
            # A view that verifies itself does not wait for a server that is not there.
            if op.what != "verify" or not isinstance(error, score.ConnectionFailed):
                self.check_allowed(error, healing, f"{oracle.tell(call)}: {error}")
        except (score.GroupDamagedError, score.ProtocolError) as error:
            oracle.nothing(call, type(error).__name__)
            # What its store does not notice a client does: the snapshot is not what was announced.
            by_store = isinstance(error, score.GroupDamagedError)
            if op.group not in (self.world.disk.has_rotted if by_store else oracle.spoilt):
                oracle.fail("protocol", f"{oracle.tell(call)}: {error}")
        except score.GroupReplacedError as error:
            oracle.nothing(call, "GroupReplacedError")
            self.rejoin(call, op.group, error)
        except score.SessionExpiredError:
            call.state = "died"  # open to the last
            for name in call.names[-1:]:
                oracle.resolved(call, name, "expired", None)
            call.state = "expired"
        except FAILURES as error:
            if op.what in PLAIN:
                raise
            structure = self.structures.get(op.group)
            position = structure.position if structure is not None else 0
            oracle.done(call, None, type(error).__name__, position, incarnation_of(structure))
        except score.ServerBusyError as error:
            # What became of the change before cannot be settled now.
            self.was_refused = True
            oracle.nothing(call, type(error).__name__)
            if not oracle.forgets:
                raise
        except score.ServerError as error:
            # A submission on a channel that ended by damage.
            if op.group not in self.world.disk.has_rotted or type(error) is not score.ServerError:
                raise
            oracle.nothing(call, type(error).__name__)

    def rejoin(self, call: Call, group: str, error: score.GroupReplacedError) -> None:
        """The view's history is not the group's any more: join it afresh, as the error says."""
        oracle = self.world.oracle
        if not (oracle.era or oracle.deletions[group] or oracle.imports):
            oracle.fail("protocol", f"{oracle.tell(call)}: {error}")
        self.stop_watching(group)
        view = self.structures.pop(group, None)
        if view is not None:  # else it happened while it joined
            view.close()
        self.checked.pop(group, None)

    def check_patience(self, healing: bool, text: str) -> None:
        if healing or (self.world.calm and not self.hurried):
            self.world.oracle.fail("P8", f"no answer although nothing fails: {text}")

    def check_allowed(self, error: Exception, healing: bool, text: str) -> None:
        if isinstance(error, score.DeadlineExceeded | score.ConnectionFailed):
            self.check_patience(healing, text)
        if isinstance(error, score.StoreFullError) and "full" not in self.world.faults:
            self.world.oracle.fail("protocol", text)

    def ask(self, about: Call) -> None:
        """Ask what became of somebody's call."""
        assert self.client is not None
        name = about.names[-1] if about.names else None
        if name is None:
            return
        oracle, healing = self.world.oracle, self.world.healing
        self.call = oracle.begin(self.name, "ask", "")
        self.world.note(f"{self.name}: ask about {oracle.tell(about)}")
        try:
            outcome = self.client.outcome(token_of(name))
        except score.DeadlineExceeded as error:
            self.check_patience(healing, str(error))
            self.call.state = "nothing"
            return
        except score.ServerBusyError:
            if not oracle.forgets:
                raise
            self.call.state = "nothing"
            return
        self.call.state = "done"
        self.world.note(f"{self.name}: -> {outcome}")
        oracle.resolved(about, name, outcome.verdict, outcome.position)

    def note_names(self) -> None:
        """Something is being sent: if it is a submission, it is one of the present call."""
        if self.client is None or self.call is None:
            return
        session = self.client._session
        pending = session.pending
        if pending is not None and session.id is not None:
            self.note_name(self.call, (session.id, pending.seq))

    def note_name(self, call: Call, name: Name) -> None:
        """*call* submits under *name*, unless that is an older call's, which is being settled."""
        if name not in self.world.known_names:
            self.world.known_names.add(name)
            call.names.append(name)

    def check_views(self) -> None:
        """P4, after every step of this process."""
        for group, structure in self.structures.items():
            replica = structure._view.replica
            position = replica.position
            if self.checked.get(group) == position or replica.suspect:
                continue
            self.checked[group] = position
            self.check_handles(structure, replica)
            content = structure.copy() if group[0] == "s" else structure
            nodes = frozenset(replica.tree.nodes)
            self.world.oracle.check_view(
                group, replica.incarnation, position, content, nodes, f"{self.name}'s view"
            )

    def check_handles(self, structure: Any, replica: Any) -> None:
        """A container that is still there is the same object, also where a snapshot was loaded."""
        owner, before = self.handles.get(structure.group, (None, {}))
        nodes = dict(replica.tree.nodes)
        if owner is structure and replica.position == replica._loaded:
            for node_id in nodes.keys() & before.keys():
                if nodes[node_id] is not before[node_id]:
                    self.world.oracle.fail(
                        "P4", f"{self.name}'s handle of {node_id} is another one"
                    )
        self.handles[structure.group] = structure, nodes


def incarnation_of(structure: Any) -> bytes | None:
    """Of which group of its name it is a view."""
    incarnation: bytes | None = None if structure is None else structure._view.replica.incarnation
    return incarnation


# ---------------------------------------------------------------- operations


def _last(results: list[Any]) -> Any:
    return results[-1]


def _first_of_last(results: list[Any]) -> Any:
    return results[-1][0]


def _tail(count: int) -> Callable[[list[Any]], Any]:
    return lambda results: results[-count:]


def _key(op: Op) -> str:
    return f"k{op.numbers[0] % 3}"


def _put(m: Any, op: Op) -> Answer:
    m[_key(op)] = op.tag
    return _last, None


def _put_text(m: Any, op: Op) -> Answer:
    m["i0"] = op.tag
    return _last, None


def _increment(m: Any, op: Op) -> Answer:
    return _last, m.increment(f"i{op.numbers[0] % 2}", op.numbers[2])


def _discard(m: Any, op: Op) -> Answer:
    return _first_of_last, m.discard(_key(op))


def _pop(m: Any, op: Op) -> Answer:
    return _last, m.pop(_key(op))


def _setdefault(m: Any, op: Op) -> Answer:
    return _last, m.setdefault(_key(op), op.tag)


def _put_list(m: Any, op: Op) -> Answer:
    m[f"n{op.numbers[0] % 2}"] = [op.tag, [op.tag + "in"]]
    return _last, None


def _nested(m: Any, op: Op) -> Answer:
    nested = m.get(f"n{op.numbers[0] % 2}")
    if nested is None:
        return _put_list(m, op)
    if op.numbers[1] % 2 and len(nested) > 1 and isinstance(nested[1], list):
        nested[1].append(op.tag)
    else:
        nested.append(op.tag)
    return _last, None


def _batch(s: Any, op: Op) -> Answer:
    with s.batch() as b:
        if op.group[0] == "m":
            first, second = op.numbers[0] % 2, op.numbers[1] % 3
            b[f"n{first}"] = [op.tag]
            b[f"n{1 - first}"] = [op.tag + "b"]
            b[f"n{1 - first}"].append(op.tag + "c")
            b[f"k{second}"] = op.tag
        elif op.group[0] == "v":
            b.append(op.tag)
            b.extend([op.tag + "b", op.tag + "c"])
            if op.numbers[0] % 2:
                b.insert(len(s) // 2, op.tag + "d")
        else:
            b.push(op.tag)
            b.push(op.tag + "b")
    if op.group[0] == "s":
        return lambda results: results[-1:] * 2, b.results  # one operation stores both
    return _tail(len(b.results)), b.results


def _batch_fails(m: Any, op: Op) -> Answer:
    """Fails as a whole where i0 is a text by then."""
    with m.batch() as b:
        b[_key(op)] = op.tag
        b["n0"] = [op.tag]
        b.increment("i0", op.numbers[2])
    return _tail(3), b.results


def _read_and_write(op: Op) -> Callable[[Any], Any]:
    """The body of a transaction; returns what it saw."""

    def add(t: Any) -> Any:
        seen = t.get("t0", 0)
        t["t0"] = seen + op.numbers[2]
        t[_key(op)] = op.tag
        return seen

    def append(t: Any) -> Any:
        seen = list(t)
        t.append(f"{op.tag} of {len(seen)}")
        return seen

    return add if op.group[0] == "m" else append


def _saw(op: Op, seen: Any) -> Answer:
    if op.group[0] == "m":
        return BEFORE, lambda before: before.get("t0", 0) == seen
    return BEFORE, lambda before: before == seen


def _transaction(s: Any, op: Op) -> Answer:
    return _saw(op, s.run_transaction(_read_and_write(op)))


def _try(s: Any, op: Op) -> Answer:
    with s.transaction() as t:
        seen = _read_and_write(op)(t)
    return _saw(op, seen)


def _append(v: Any, op: Op) -> Answer:
    v.append(op.tag)
    return _last, None


def _extend(v: Any, op: Op) -> Answer:
    v.extend([op.tag, op.tag + "b"])
    return _last, None


def _insert(v: Any, op: Op) -> Answer:
    v.insert(op.numbers[0] % (len(v) + 1), op.tag)
    return None


def _set(v: Any, op: Op) -> Answer:
    """The element that goes is the one that the caller saw there."""
    if not v:
        return _append(v, op)
    index = op.numbers[0] % len(v)
    seen = v[index]
    v[index] = op.tag
    return BEFORE, lambda before: before[index : index + 1] == [seen]


def _delete(v: Any, op: Op) -> Answer:
    if not v:
        return _append(v, op)
    index = op.numbers[0] % len(v)
    seen = v[index]
    del v[index]
    return BEFORE, lambda before: before[index : index + 1] == [seen]


def _pop_last(s: Any, op: Op) -> Answer:
    return _last, s.pop()


def _pop_first(v: Any, op: Op) -> Answer:
    if len(v) < 2:
        return _last, v.pop()
    return _first_of_last, v.pop(0)


def _push(s: Any, op: Op) -> Answer:
    s.push(op.tag)
    return _last, None


ACTIONS: dict[str, Callable[[Any, Op], Answer]] = {
    "put": _put, "put_text": _put_text, "increment": _increment, "discard": _discard, "pop": _pop,
    "setdefault": _setdefault, "put_list": _put_list, "nested": _nested, "batch": _batch,
    "batch_fails": _batch_fails, "append": _append, "extend": _extend, "insert": _insert, "set": _set,
    "delete": _delete, "transaction": _transaction, "try": _try, "pop_last": _pop_last, "pop_first": _pop_first, "push": _push,
}  # fmt: skip


def note_acknowledged(process: Process, call: Call, structure: Any) -> None:
    process.world.oracle.note_acknowledged(call, structure.position, incarnation_of(structure))


def _sync(process: Process, call: Call, op: Op) -> None:
    structure = process.structure(op.group)
    structure.sync()
    note_acknowledged(process, call, structure)


def _look(process: Process, call: Call, op: Op) -> None:
    """A transaction that changes nothing has seen all that was acknowledged before it."""
    structure = process.structure(op.group)
    structure.run_transaction(lambda t: len(t))
    note_acknowledged(process, call, structure)


def _reopen(process: Process, call: Call, op: Op) -> None:
    process.stop_watching(op.group)
    old = process.structures.pop(op.group, None)
    if old is not None:
        old.close()
    process.checked.pop(op.group, None)
    note_acknowledged(process, call, process.structure(op.group))


def _watch(process: Process, call: Call, op: Op) -> None:
    """Follow the group for a while; sometimes the watch stays, and is gone on with later."""
    structure, oracle, world = process.structure(op.group), process.world.oracle, process.world
    wanted, era = 1 + op.numbers[0] % 6, oracle.era
    if op.group not in process.watches:
        watch = structure.watch(WATCH_S if op.numbers[2] % 2 else world.step_s * 50)
        process.kept.append(watch)
        process.watches[op.group] = (watch, structure.position, [])
        process.eras[op.group] = era
    watch, start, seen = process.watches[op.group]
    timeout = watch._timeout
    calm, begun, left = world.healing or world.calm, world.now, wanted
    for change in watch:
        if not seen or seen[-1][0] != change.position:
            seen.append((change.position, change.kind == "reload"))
        left -= 1
        if not left:
            break
    log = oracle.known.get(incarnation_of(structure) or b"")
    if era != oracle.era or process.eras.get(op.group) != era or log is None:
        process.stop_watching(op.group)
        return
    missing = oracle.check_watch(log, start, seen, f"{process.name}'s watch")
    if timeout == WATCH_S and calm and left and missing and log is oracle.logs.get(op.group):
        since = max(begun, log.durable_at.get(missing[0], world.now))
        if world.now - since > timeout * 0.9:
            oracle.fail("P8", f"{process.name}'s watch was never told of {missing[0]}")
    if op.numbers[1] % 2:
        process.stop_watching(op.group)


def _groups(process: Process, call: Call, op: Op) -> None:
    assert process.client is not None
    oracle = process.world.oracle
    deletions = oracle.deletions.total()
    for name, position, floor, snapshot, *_, keeps in process.client.groups():
        if (call.era, deletions) != (oracle.era, oracle.deletions.total()):
            return
        log = oracle.log(name)
        if position not in log.contents or log.floor < floor or log.keep != keeps:
            oracle.fail("P1", f"{name} is listed at {position} and {floor}, which is not durable")
        if snapshot and snapshot not in log.snapshots:
            oracle.fail("P1", f"{name} is listed with a snapshot of {snapshot}; it has none")


PLAIN: dict[str, Callable[[Process, Call, Op], None]] = {
    "sync": _sync, "look": _look, "reopen": _reopen, "watch": _watch, "groups": _groups,
    "compact": whole.compact, "compact_wrongly": whole.compact_wrongly, "verify": whole.verify,
    "import_": whole.import_, "delete_group": whole.delete, "stay_away": whole.stay_away,
    "overtaken": whole.overtaken, "load_slowly": whole.load_slowly,
}  # fmt: skip
