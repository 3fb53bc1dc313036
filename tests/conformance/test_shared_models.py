"""SMap, SVec and SStack against a plain dict and plain lists to which the same changes are made in the same order.

Several views of several clients, on a real server in this process.  The *order* is what the model keeps: the state
after each position.  A view is right if it holds exactly the state at its own position, whatever others did since.
*Exactly* means types, signs of zero, zones and the order of keys, which ``==`` does not look at.

What the model knows besides Python's own semantics is README's table and no more: where a change lands (intents on
the latest state, positional ones only if nothing at or before their place changed), and what fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import score
from score import Client, ConflictError, SMap, SStack, StaleHandleError, SVec
from score.testing import server

SETTINGS = settings(
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
# Equal and of equal hash to NOON, and yet another value.
NOON_ELSEWHERE = NOON.astimezone(timezone(timedelta(hours=2), "there"))
assert NOON == NOON_ELSEWHERE
assert hash(-1) == hash(-2)

# Each row is one key to a dict, or at least one hash.
KEYS: list[Any] = [
    1, 1.0, True, Decimal(1), complex(1, 0),
    0, 0.0, -0.0, False, 2**61 - 1,
    -1, -2,
    NOON, NOON_ELSEWHERE,
    (1, -0.0), (True, 0.0), frozenset({1}), frozenset({True}),
    "1", b"1", None, "",
]  # fmt: skip
LEAVES: list[Any] = [0, 1, 1.0, -0.0, True, None, "x", 2**70, NOON_ELSEWHERE, (1, (-0.0,)), 0.5]

keys = st.sampled_from(KEYS)
leaves = st.sampled_from(LEAVES)
leaf_lists = st.lists(leaves, max_size=3)
values = st.one_of(leaf_lists, leaves, leaf_lists)
views = st.integers(0, 2)
groups = count()


def exact(value: object) -> object:
    """Equal for what is the same to the last bit; containers by their content."""
    if isinstance(value, dict):
        return [(exact(key), exact(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return (kind, [exact(item) for item in value])
    if isinstance(value, frozenset):
        return ("frozenset", sorted(map(repr, value)))
    return (type(value), repr(value))


class Fails(Exception):
    """An operation of the model fails where it lands, with this type of error."""

    def __init__(self, kind: type[Exception], index: int | None = None) -> None:
        super().__init__(kind)
        self.kind, self.index = kind, index


@pytest.fixture(scope="module")
def clients() -> Iterator[list[Client]]:
    with server() as url, score.connect(url) as one, score.connect(url) as two:
        yield [one, one, two]


class SharedMachine(RuleBasedStateMachine):
    """What the three machines share: views, the order, and what a call must do.

    ``states[p]`` is the state after position p; ``touched[p]`` says what p changed, for positional operations.
    """

    kind: type[Any]

    def __init__(self, clients: list[Client]) -> None:
        super().__init__()
        self.clients = clients
        self.group = f"{self.kind.__name__} {next(groups)}"
        self.head = 0
        self.states: dict[int, Any] = {0: self.empty()}
        self.touched: dict[int, Any] = {}
        self.views: list[Any] = [None] * 3

    def empty(self) -> Any:
        raise NotImplementedError

    def plain(self, state: Any) -> Any:
        """*state* as the builtin that a view of it equals."""
        return state

    def content(self, view: Any) -> Any:
        return view

    @initialize()
    def begin(self) -> None:
        self.views = [self.kind(client, self.group) for client in self.clients]

    def state(self, number: int) -> Any:
        """What view *number* must hold."""
        return self.states[self.views[number].position]

    def land(self, view: Any, state: Any, touched: Any) -> None:
        """The view's own change landed: its view stands there, behind all before."""
        assert view.position > self.head
        self.head = view.position
        self.states[self.head], self.touched[self.head] = state, touched

    def intent(
        self, number: int, change: Callable[[Any], tuple[Any, Any]], call: Callable[[], Any]
    ) -> None:
        """*call* on a view must do to the latest state what *change* does: (result, touched)."""
        view = self.views[number]
        state = self.states[self.head].copy()
        fails = None
        try:
            result, touched = change(state)
        except Fails as failure:
            fails = failure
        if fails is not None:
            with pytest.raises(fails.kind) as caught:
                call()
            assert type(caught.value) is fails.kind
            assert getattr(caught.value, "operation", None) == fails.index
            self.fail(view)
            return
        assert exact(call()) == exact(result)
        self.land(view, state, touched)

    def fail(self, view: Any) -> None:
        """A failure is recorded, and changes nothing."""
        self.land(view, self.states[self.head], None)

    def conflict(self, number: int, call: Callable[[], Any]) -> None:
        """*call* must be refused, and its view then holds what refused it."""
        with pytest.raises(ConflictError):
            call()
        assert self.views[number].position == self.head

    def since(self, number: int) -> list[Any]:
        """What others touched behind view *number*, oldest first."""
        position = self.views[number].position
        return [touched for at, touched in self.touched.items() if at > position]

    @rule(number=views)
    def sync(self, number: int) -> None:
        self.views[number].sync()
        assert self.views[number].position == self.head

    @rule(number=views)
    def rebuild(self, number: int) -> None:
        """As after an interrupt in the middle of applying."""
        self.views[number]._view.replica.tree.interrupted = True
        self.sync(number)

    @invariant()
    def every_view_is_a_prefix_of_the_order(self) -> None:
        for number, view in enumerate(self.views):
            if view is not None:
                expected = self.plain(self.state(number))
                assert exact(self.content(view)) == exact(expected)

    def teardown(self) -> None:
        if self.views[0] is None:
            return
        fresh = self.kind(self.clients[-1], self.group)
        assert exact(self.content(fresh)) == exact(self.plain(self.states[self.head]))
        for view in self.views:
            view.sync()
            assert view.position == fresh.position == self.head
            assert view.dump() == fresh.dump()
            view.close()


# ---------------------------------------------------------------- maps, and lists in them


@dataclass(frozen=True)
class Ref:
    """A list in the model's map: lists have an identity, by which handles and changes mean them."""

    number: int


@dataclass
class MapState:
    """*lists* are those in the map; *gone* those that were, as they were last."""

    content: dict[Any, Any] = field(default_factory=dict)
    lists: dict[int, list[Any]] = field(default_factory=dict)
    gone: dict[int, list[Any]] = field(default_factory=dict)

    def copy(self) -> MapState:
        lists = {number: list(items) for number, items in self.lists.items()}
        return MapState(dict(self.content), lists, dict(self.gone))

    def store(self, key: Any, value: Any) -> Any:
        self.drop(self.content.get(key))
        if isinstance(value, list):
            ref = Ref(next(groups))
            self.lists[ref.number] = list(value)
            value = ref
        self.content[key] = value

    def drop(self, value: Any) -> Any:
        """The plain form of a value that leaves the map."""
        if not isinstance(value, Ref):
            return value
        self.gone[value.number] = self.lists.pop(value.number)
        return self.gone[value.number]

    def plain(self, value: Any) -> Any:
        return self.lists[value.number] if isinstance(value, Ref) else value


def run(state: MapState, what: str, *arguments: Any) -> Any:
    """One operation on the model's map; raises Fails, having changed nothing."""
    content = state.content
    match what, *arguments:
        case "put", key, value:
            return state.store(key, value)
        case "delete", key:
            if key not in content:
                raise Fails(KeyError)
            return state.drop(content.pop(key))
        case "pop", key, default:
            return state.drop(content.pop(key)) if key in content else default
        case "discard", key:
            found = key in content
            state.drop(content.pop(key, None))
            return found
        case ("popitem",):
            if not content:
                raise Fails(KeyError)
            key, value = content.popitem()
            return key, state.drop(value)
        case "setdefault", key, value:
            if key not in content:
                state.store(key, value)
            return state.plain(content[key])
        case "update", new:
            for key, value in new.items():
                state.store(key, value)
            return None
        case "increment", key, by:
            old = content.get(key, 0)
            if type(old) not in (int, float):
                raise Fails(TypeError)
            content[key] = old + by
            return content[key]
        case ("clear",):
            for value in content.values():
                state.drop(value)
            return content.clear()
    return run_list(state, what, *arguments)


def run_list(state: MapState, what: str, number: int, *arguments: Any) -> Any:
    """An intent on a list in the map, which may be there no more."""
    if number not in state.lists:
        raise Fails(StaleHandleError)
    items = state.lists[number]
    match what, *arguments:
        case "append", value:
            return items.append(value)
        case "extend", more:
            return items.extend(more)
        case ("pop last",):
            if not items:
                raise Fails(IndexError)
            return items.pop()
    raise AssertionError(what)


def lowest_changes(before: MapState, after: MapState) -> dict[int, int]:
    """number of a list -> the lowest index that one intent changed (at the end, all of them)."""
    return {
        number: min(len(items), len(before.lists[number]))
        for number, items in after.lists.items()
        if number in before.lists and len(items) != len(before.lists[number])
    }


OPERATIONS = st.one_of(
    st.tuples(st.just("put"), keys, values),
    st.tuples(st.just("put"), keys, values),
    st.tuples(st.just("delete"), keys),
    st.tuples(st.just("pop"), keys, leaves),
    st.tuples(st.just("discard"), keys),
    st.tuples(st.just("popitem")),
    st.tuples(st.just("setdefault"), keys, values),
    st.tuples(st.just("update"), st.dictionaries(keys, values, min_size=1, max_size=3)),
    st.tuples(st.just("increment"), keys, st.sampled_from([1, -2, 0.5])),
    st.tuples(st.just("clear")),
)


def call(target: Any, what: str, *arguments: Any) -> Any:
    """The same operation on a real map, or on a batch's recorder of one."""
    match what, *arguments:
        case "put", key, value:
            target[key] = value
            return None
        case "delete", key:
            return target.pop(key)
        case "pop last":
            return target.pop()
    return getattr(target, what)(*arguments)


class MapMachine(SharedMachine):
    kind = SMap

    def __init__(self, clients: list[Client]) -> None:
        super().__init__(clients)
        # (view, number of the list in the model, the object)
        self.handles: list[tuple[int, int, Any]] = []

    def empty(self) -> MapState:
        return MapState()

    def plain(self, state: MapState) -> dict[Any, Any]:
        return {key: state.plain(value) for key, value in state.content.items()}

    def change(self, operation: tuple[Any, ...]) -> Callable[[MapState], tuple[Any, Any]]:
        def changed(state: MapState) -> tuple[Any, Any]:
            before = state.copy()
            return run(state, *operation), lowest_changes(before, state)

        return changed

    @rule(number=views, operation=OPERATIONS)
    def operate(self, number: int, operation: tuple[Any, ...]) -> None:
        view = self.views[number]
        self.intent(number, self.change(operation), lambda: call(view, *operation))

    @rule(number=views, operations=st.lists(OPERATIONS, min_size=1, max_size=4), data=st.data())
    def batch(self, number: int, operations: list[tuple[Any, ...]], data: st.DataObject) -> None:
        """All or nothing, what one operation puts there another one may change."""
        view, seen = self.views[number], self.state(number)
        nested = [key for key, value in seen.content.items() if isinstance(value, Ref)]
        inside = data.draw(st.sampled_from([*nested, None]))
        ref = None if inside is None else seen.content.get(inside)
        made = data.draw(st.booleans())
        outcome: list[Any] = []

        def act() -> list[Any]:
            with view.batch() as batch:
                if isinstance(ref, Ref):
                    batch[inside].append("in batch")
                for operation in operations:
                    call(batch, *operation)
                if made:
                    batch["made"] = [1]
                    batch["made"].append(2)
            outcome.append(True)
            return batch.results

        def change(state: MapState) -> tuple[Any, Any]:
            before = state.copy()
            todo = [("append", ref.number, "in batch")] if isinstance(ref, Ref) else []
            todo += operations + [("put", "made", [1])] * made
            results = []
            for index, operation in enumerate(todo):
                try:
                    result = run(state, *operation)
                    # A list may be changed further by what follows.
                    results.append(list(result) if isinstance(result, list) else result)
                except Fails as fails:
                    raise Fails(fails.kind, index) from None
            if made:
                results.append(run(state, "append", state.content["made"].number, 2))
            return results, lowest_changes(before, state)

        # What setdefault gave is live, and the batch may have changed it since: look at the others.
        live = [index for index, operation in enumerate(operations) if operation[0] == "setdefault"]
        first = int(isinstance(ref, Ref))

        def settled(results: list[Any]) -> list[Any]:
            return [result for at, result in enumerate(results) if at - first not in live]

        def settled_change(state: MapState) -> tuple[Any, Any]:
            results, touched = change(state)
            return settled(results), touched

        self.intent(number, settled_change, lambda: settled(act()))
        if not outcome:
            self.adopt_order(number)

    def adopt_order(self, number: int) -> None:
        """Undoing half of a batch puts keys back, but perhaps behind others: take over where.

        Equality is checked all the same, and so is that all views agree.
        """
        state = self.states[self.head].copy()
        places = {repr(exact(key)): key for key in state.content}
        order = [places.pop(repr(exact(key))) for key in self.views[number]]
        assert not places
        state.content = {key: state.content[key] for key in order}
        self.states[self.head] = state

    @rule(number=views, data=st.data())
    def take_handle(self, number: int, data: st.DataObject) -> None:
        content = self.state(number).content
        nested = [key for key, value in content.items() if isinstance(value, Ref)]
        if nested:
            key = data.draw(st.sampled_from(nested))
            self.handles.append((number, content[key].number, self.views[number][key]))

    @precondition(lambda self: self.handles)
    @rule(
        data=st.data(),
        operation=st.one_of(
            st.tuples(st.just("append"), leaves),
            st.tuples(st.just("extend"), st.lists(leaves, min_size=1, max_size=2)),
            st.tuples(st.just("pop last")),
        ),
    )
    def operate_on_handle(self, data: st.DataObject, operation: tuple[Any, ...]) -> None:
        number, listed, handle = data.draw(st.sampled_from(self.handles))
        what, *arguments = operation
        act = handle.pop if what == "pop last" else lambda: call(handle, *operation)
        if listed not in self.state(number).lists:
            with pytest.raises(StaleHandleError):
                act()
            return
        self.intent(number, self.change((what, listed, *arguments)), act)

    @precondition(lambda self: self.handles)
    @rule(data=st.data(), index=st.integers(-3, 3), value=leaves)
    def set_in_handle(self, data: st.DataObject, index: int, value: Any) -> None:
        number, listed, handle = data.draw(st.sampled_from(self.handles))
        state = self.state(number)

        def act() -> None:
            handle[index] = value

        if listed not in state.lists:
            with pytest.raises(StaleHandleError):
                act()
            return
        length = len(state.lists[listed])
        if not -length <= index < length:
            with pytest.raises(IndexError):
                act()
            return
        at = index % length
        gone = listed not in self.states[self.head].lists
        moved = [touched[listed] for touched in self.since(number) if touched and listed in touched]
        if gone or (moved and min(moved) <= at):
            self.conflict(number, act)
            return

        def change(latest: MapState) -> tuple[Any, Any]:
            latest.lists[listed][at] = value
            return None, {listed: at}

        self.intent(number, change, act)

    @rule(number=views)
    def join_afresh(self, number: int) -> None:
        self.views[number].close()
        self.views[number] = SMap(self.clients[number], self.group)
        self.handles = [handle for handle in self.handles if handle[0] != number]
        assert self.views[number].position == self.head

    @invariant()
    def handles_show_their_list_while_it_lives_and_its_last_content_after(self) -> None:
        for number, listed, handle in self.handles:
            state = self.state(number)
            if listed in state.lists:
                (key,) = [key for key, value in state.content.items() if value == Ref(listed)]
                assert self.views[number][key] is handle
                assert exact(handle) == exact(state.lists[listed])
            else:
                assert exact(handle) == exact(state.gone[listed])


# ---------------------------------------------------------------- lists


REORDERED = -1  # before every place


class VecMachine(SharedMachine):
    """``touched[p]``: the lowest index at which p changed something, None if it did not."""

    kind = SVec

    def empty(self) -> list[Any]:
        return []

    def positional(
        self,
        number: int,
        last: int | None,
        change: Callable[[list[Any]], tuple[Any, int | None]],
        act: Callable[[], Any],
    ) -> None:
        """*act* relies on what its view holds up to index *last* (None: on all of it)."""
        moved = [touched for touched in self.since(number) if touched is not None]
        if moved and (last is None or min(moved) <= last):
            self.conflict(number, act)
        else:
            self.intent(number, change, act)

    @rule(number=views, value=leaves)
    def append(self, number: int, value: Any) -> None:
        self.intent(
            number,
            lambda s: (s.append(value), len(s) - 1),
            lambda: self.views[number].append(value),
        )

    @rule(number=views, more=st.lists(leaves, min_size=1, max_size=4))
    def extend(self, number: int, more: list[Any]) -> None:
        def change(state: list[Any]) -> tuple[Any, int | None]:
            state.extend(more)
            return None, len(state) - len(more)

        self.intent(number, change, lambda: self.views[number].extend(more))

    @rule(number=views)
    def pop(self, number: int) -> None:
        def change(state: list[Any]) -> tuple[Any, int | None]:
            if not state:
                raise Fails(IndexError)
            return state.pop(), len(state)

        self.intent(number, change, self.views[number].pop)

    @rule(number=views)
    def clear(self, number: int) -> None:
        def change(state: list[Any]) -> tuple[Any, int | None]:
            touched = 0 if state else None
            return state.clear(), touched

        self.intent(number, change, self.views[number].clear)

    @rule(number=views, index=st.integers(-9, 9), value=leaves)
    def insert(self, number: int, index: int, value: Any) -> None:
        length = len(self.state(number))
        at = max(0, index + length) if index < 0 else min(index, length)

        def act() -> None:
            self.views[number].insert(index, value)

        if at == 0:  # is at 0 wherever it lands
            self.intent(number, lambda s: (s.insert(0, value), 0), act)
        else:
            self.positional(number, at, lambda s: (s.insert(at, value), at), act)

    @rule(number=views, index=st.integers(-6, 6), value=leaves)
    def set_item(self, number: int, index: int, value: Any) -> None:
        def act() -> None:
            self.views[number][index] = value

        at = self.place(number, index, act)
        if at is not None:
            self.positional(number, at, lambda s: (s.__setitem__(at, value), at), act)

    @rule(number=views, index=st.integers(-6, 6))
    def delete_item(self, number: int, index: int) -> None:
        def act() -> None:
            del self.views[number][index]

        at = self.place(number, index, act)
        if at is not None:
            self.positional(number, at, lambda s: (s.__delitem__(at), at), act)

    @rule(number=views, index=st.integers(-6, 6).filter(lambda index: index != -1))
    def pop_item(self, number: int, index: int) -> None:
        def act() -> Any:
            return self.views[number].pop(index)

        at = self.place(number, index, act)
        if at is not None:
            self.positional(number, at, lambda s: (s.pop(at), at), act)

    def place(self, number: int, index: int, act: Callable[[], Any]) -> int | None:
        """*index* from the front; None where there is nothing, which is told without asking anybody."""
        length = len(self.state(number))
        if -length <= index < length:
            return index % length
        with pytest.raises(IndexError):
            act()
        return None

    @rule(number=views, value=leaves)
    def remove(self, number: int, value: Any) -> None:
        def act() -> None:
            self.views[number].remove(value)

        seen = self.state(number)
        if value not in seen:
            with pytest.raises(ValueError):
                act()
            return
        at = seen.index(value)
        self.positional(number, at, lambda s: (s.__delitem__(at), at), act)

    @rule(
        number=views,
        where=st.builds(
            slice, *[st.none() | st.integers(-5, 5)] * 2, st.sampled_from([None, 1, 2, -1, -2])
        ),
        more=st.lists(leaves, max_size=4),
    )
    def set_slice(self, number: int, where: slice, more: list[Any]) -> None:
        def act() -> None:
            self.views[number][where] = more

        seen = list(self.state(number))
        start, stop, step = where.indices(len(seen))
        places = range(start, stop, step)
        try:
            seen[where] = more
        except ValueError:
            with pytest.raises(ValueError):
                act()
            return
        if not places and not more:
            act()  # nothing to send
            return

        def change(state: list[Any]) -> tuple[Any, int | None]:
            # The places that it had in the view, whatever the length is now.
            if step == 1:
                state[start : max(start, stop)] = more
                return None, start
            for at, value in zip(places, more, strict=True):
                state[at] = value
            return None, min(places)

        last = max(start, stop - 1) if step == 1 else max(places)
        self.positional(number, last, change, act)

    @rule(
        number=views,
        where=st.builds(
            slice, *[st.none() | st.integers(-5, 5)] * 2, st.sampled_from([None, 1, 2, -1, 3])
        ),
    )
    def delete_slice(self, number: int, where: slice) -> None:
        def act() -> None:
            del self.views[number][where]

        places = range(*where.indices(len(self.state(number))))
        if not places:
            act()  # nothing to send
            return

        def change(state: list[Any]) -> tuple[Any, int | None]:
            for at in sorted(places, reverse=True):
                del state[at]
            return None, min(places)

        self.positional(number, max(places), change, act)

    @rule(number=views, backwards=st.booleans())
    def sort(self, number: int, backwards: bool) -> None:
        self.reorder(
            number,
            lambda s: s.sort(key=repr, reverse=backwards),
            lambda: self.views[number].sort(key=repr, reverse=backwards),
        )

    @rule(number=views)
    def reverse(self, number: int) -> None:
        self.reorder(number, lambda s: s.reverse(), self.views[number].reverse)

    def reorder(
        self, number: int, change: Callable[[list[Any]], None], act: Callable[[], Any]
    ) -> None:
        if len(self.state(number)) > 1:
            self.positional(number, None, lambda s: (change(s), REORDERED), act)
        else:
            act()  # nothing to send

    @rule(number=views, times=st.integers(-1, 2))
    def repeat(self, number: int, times: int) -> None:
        def act() -> None:
            view = self.views[number]
            view *= times
            assert view is self.views[number]

        seen = self.state(number)
        if times == 1 or not seen:
            act()
            return

        def change(state: list[Any]) -> tuple[Any, int | None]:
            touched = len(state) if times > 0 else 0
            state *= times
            return None, touched

        self.positional(number, None, change, act)

    @rule(
        number=views,
        more=st.lists(leaves, max_size=3),
        pops=st.integers(0, 4),
        index=st.none() | st.integers(0, 3),
    )
    def batch(self, number: int, more: list[Any], pops: int, index: int | None) -> None:
        """Appends, then pops, then perhaps something positional, which makes all of it so."""
        view = self.views[number]
        length = len(self.state(number)) + len(more) - pops
        if index is not None and index >= length:
            index = None
        if not more and not pops and index is None:
            return

        def act() -> list[Any]:
            with view.batch() as batch:
                batch.extend(more)
                for _ in range(pops):
                    batch.pop()
                if index is not None:
                    batch[index] = "set"
            return batch.results

        def change(state: list[Any]) -> tuple[Any, int | None]:
            lowest = len(state)
            results: list[Any] = [None] * bool(more)
            state.extend(more)
            for _ in range(pops):
                if not state:
                    raise Fails(IndexError, len(results))
                results.append(state.pop())
                lowest = min(lowest, len(state))
            if index is not None:
                results.append(None)
                state[index] = "set"
                lowest = min(lowest, index)
            return results, lowest

        if index is not None and view.position != self.head:
            self.conflict(number, act)
        else:
            self.intent(number, change, act)


# ---------------------------------------------------------------- stacks


class StackMachine(SharedMachine):
    kind = SStack

    def empty(self) -> list[Any]:
        return []

    def content(self, view: Any) -> list[Any]:
        assert len(view) == len(list(view))
        return view.copy()

    @rule(number=views, value=values)
    def push(self, number: int, value: Any) -> None:
        self.intent(
            number, lambda s: (s.append(value), None), lambda: self.views[number].push(value)
        )

    @rule(number=views, more=st.lists(values, min_size=1, max_size=3))
    def extend(self, number: int, more: list[Any]) -> None:
        self.intent(
            number, lambda s: (s.extend(more), None), lambda: self.views[number].extend(more)
        )

    def popped(self, state: list[Any]) -> tuple[Any, Any]:
        if not state:
            raise Fails(IndexError)
        return state.pop(), None

    @rule(number=views)
    def pop(self, number: int) -> None:
        self.intent(number, self.popped, self.views[number].pop)

    @rule(number=views)
    def clear(self, number: int) -> None:
        self.intent(number, lambda s: (s.clear(), None), self.views[number].clear)

    @rule(number=views, value=values, pops=st.integers(0, 4))
    def batch(self, number: int, value: Any, pops: int) -> None:
        def act() -> list[Any]:
            with self.views[number].batch() as batch:
                batch.push(value)
                for _ in range(pops):
                    batch.pop()
            return batch.results

        def change(state: list[Any]) -> tuple[Any, Any]:
            results = [state.append(value)]
            for _ in range(pops):
                if not state:
                    raise Fails(IndexError, len(results))
                results.append(state.pop())
            return results, None

        self.intent(number, change, act)

    @rule(number=views)
    def peek(self, number: int) -> None:
        state = self.state(number)
        if state:
            assert exact(self.views[number].peek()) == exact(state[-1])
        else:
            with pytest.raises(IndexError):
                self.views[number].peek()


@pytest.mark.parametrize(
    ("machine", "examples"), [(MapMachine, 120), (VecMachine, 120), (StackMachine, 30)]
)
def test_views_hold_exactly_what_the_order_says(
    machine: type[SharedMachine], examples: int, clients: list[Client]
) -> None:
    run_state_machine_as_test(
        lambda: machine(clients), settings=settings(SETTINGS, max_examples=examples)
    )


# ---------------------------------------------------------------- loops that write


def meddled(other: SMap[int, int]) -> Iterator[None]:
    """Somebody else's changes, one at each step: keys that come, go and change."""
    for step in count():
        other[100 + step] = step
        other.discard(step % 7)
        other.increment(step % 5)
        yield


def test_a_loop_over_a_copy_may_write_whatever_others_do(clients: list[Client]) -> None:
    name = f"loop {next(groups)}"
    mine, other = SMap[int, int](clients[0], name), SMap[int, int](clients[2], name)
    mine.update(dict.fromkeys(range(20), 0))
    others = meddled(other)
    met = []
    for key in list(mine):
        next(others)
        mine.increment(key, 1000)
        met.append(key)
    assert met == list(range(20))
    other.sync()
    assert other == mine
    assert all(mine[key] >= 1000 for key in met[7:])  # others take the first ones out again


def test_a_loop_in_a_batch_meets_one_state_and_takes_effect_at_once(clients: list[Client]) -> None:
    name = f"loop {next(groups)}"
    mine, other = SMap[int, int](clients[0], name), SMap[int, int](clients[2], name)
    mine.update(dict.fromkeys(range(20), 0))
    others = meddled(other)
    with mine.batch() as batch:
        for key in mine:
            next(others)
            batch.increment(key, 1000)
            assert mine[key] == 0  # the view moves at the end, once
    other.sync()
    assert other == mine
    assert sum(value >= 1000 for value in mine.values()) == 20


def test_a_loop_over_the_view_itself_that_writes_is_told_so(clients: list[Client]) -> None:
    name = f"loop {next(groups)}"
    mine, other = SMap[int, int](clients[0], name), SMap[int, int](clients[2], name)
    mine.update(dict.fromkeys(range(20), 0))
    others = meddled(other)
    with pytest.raises(RuntimeError, match="changed size during iteration"):
        for key in mine:
            next(others)
            mine.increment(key)


def test_a_list_is_thinned_out_from_behind_or_in_one_batch(clients: list[Client]) -> None:
    name = f"loop {next(groups)}"
    mine, other = SVec[int](clients[0], name), SVec[int](clients[2], name)
    mine.extend(range(10))
    for index in reversed(range(len(mine))):
        if mine[index] % 2:
            other.append(-2)  # behind the place: no conflict
            del mine[index]
    other.sync()
    assert other == mine == [0, 2, 4, 6, 8, -2, -2, -2, -2, -2]
    with mine.batch() as batch:
        for index in reversed(range(len(mine))):
            if mine[index] < 0:
                del batch[index]
    assert mine == [0, 2, 4, 6, 8]
