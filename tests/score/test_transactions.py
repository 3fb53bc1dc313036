"""Transactions on shared structures: decided on the latest state, taken whole, run again or refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import score
from score import Client, SMap, SStack, SVec

from .relay import Relay, relayed


@pytest.fixture
def client() -> Iterator[Client]:
    with score.local() as connected:
        yield connected


@pytest.fixture
def other(client: Client) -> Iterator[Client]:
    with score.connect(client.url) as connected:
        yield connected


@pytest.fixture
def relay() -> Iterator[Relay]:
    with relayed() as running:
        yield running


def two(client: Client) -> tuple[SMap[str, Any], SMap[str, Any]]:
    """Two views of one group that holds something."""
    mine = SMap[str, Any](client, "m")
    mine.update(n=1, l=[1])
    return mine, SMap[str, Any](client, "m")


# ---------------------------------------------------------------- with


def test_a_transaction_is_one_change_that_everybody_sees_whole(client: Client) -> None:
    mine, theirs = two(client)
    before = mine.position
    with mine.transaction() as t:
        t["n"] += 1
        t["l"].append(t["n"])
        t["new"] = {"deep": [1]}
        t["new"]["deep"].append(2)
        assert dict(mine) == {"n": 1, "l": [1]}
    assert mine.position == before + 1
    theirs.sync()
    assert mine == theirs == {"n": 2, "l": [1, 2], "new": {"deep": [1, 2]}}


def test_who_comes_second_gets_a_conflict_and_changes_nothing(client: Client) -> None:
    mine, theirs = two(client)
    theirs["other"] = 1  # anything in the group counts
    with pytest.raises(score.ConflictError, match=r"'m'.*look again"), mine.transaction() as t:
        t["n"] += 1
    assert mine == {"n": 1, "l": [1], "other": 1}  # the refusal brought it
    with mine.transaction() as t:
        t["n"] += 1
    assert mine["n"] == 2


def test_somebody_who_comes_in_between_makes_it_a_conflict(client: Client) -> None:
    mine, theirs = two(client)
    with pytest.raises(score.ConflictError), mine.transaction() as t:
        t["n"] = len(t["l"])
        theirs["l"].append(2)
    assert mine == theirs == {"n": 1, "l": [1, 2]}


def test_reading_is_checked_to_have_been_of_the_latest_and_sends_no_change(client: Client) -> None:
    mine, theirs = two(client)
    before = mine.position
    with mine.transaction() as t:
        assert t["n"] == 1
    assert mine.position == before
    theirs["n"] = 5
    with pytest.raises(score.ConflictError), mine.transaction() as t:
        assert t["n"] == 1
    assert mine["n"] == 5


def test_an_exception_leaves_no_trace(client: Client) -> None:
    mine, theirs = two(client)
    position = mine.position
    for stop in (ZeroDivisionError, KeyboardInterrupt):
        with pytest.raises(stop), mine.transaction() as t:
            t["n"] = 2
            raise stop
    theirs.sync()
    assert theirs == mine == {"n": 1, "l": [1]}
    assert theirs.position == position


def test_what_the_structure_refuses_the_transaction_refuses(client: Client) -> None:
    typed = SMap[str, list[int]](client, "typed")
    with typed.transaction() as t:
        t["a"] = [1]
        for wrong in (
            lambda: t.__setitem__("b", 1),  # type: ignore[call-overload]
            lambda: t["a"].append("x"),  # type: ignore[arg-type]
        ):
            with pytest.raises(score.WrongTypeError):
                wrong()
    assert typed == {"a": [1]}
    with pytest.raises(score.SkeletonError):
        SMap[str, int](client, "typed")  # the first change has declared the nesting


# ---------------------------------------------------------------- the structure meanwhile


def test_the_structure_stands_still_and_whoever_touches_it_hears_of_t(client: Client) -> None:
    mine, theirs = two(client)
    nested = mine["l"]
    with mine.watch(timeout=0) as watch:
        theirs["n"] = 2
        mine.sync()
        with mine.transaction() as t:
            for touch in (
                lambda: mine.__setitem__("n", 3),
                lambda: nested.append(3),
                lambda: mine.increment("n"),
                mine.clear,
                mine.sync,
                lambda: mine.watch(),
                lambda: mine.wait_for(bool),
                lambda: mine.batch().__enter__(),
                lambda: mine.transaction().__enter__(),
                lambda: nested.transaction().__enter__(),
                lambda: mine.run_transaction(len),
            ):
                with pytest.raises(score.UsageError, match=r"group 'm': .*change `t`") as caught:
                    touch()
                assert isinstance(caught.value, score.TransactionError)
            assert next(watch).new == 2  # what the view holds already can be looked at
            with pytest.raises(score.OpenTransactionError):
                next(watch)
            t["n"] = 4
        assert next(watch).new == 4
    assert mine == {"n": 4, "l": [1]}


def test_other_structures_of_the_client_go_on(client: Client) -> None:
    mine, _ = two(client)
    other = SVec[int](client, "other")
    with mine.transaction() as t:
        other.append(t["n"])
        t["n"] = len(other)
    assert (mine["n"], other) == (1, [1])


def test_closing_ends_what_was_open(client: Client) -> None:
    mine, theirs = two(client)
    with pytest.raises(score.ClosedError), mine.transaction() as t:
        t["n"] = 2
        mine.close()
    theirs.sync()
    assert theirs["n"] == 1


def test_it_belongs_to_the_thread_of_its_structure(client: Client) -> None:
    mine, _ = two(client)
    caught: list[BaseException] = []

    def elsewhere() -> None:
        try:
            mine.run_transaction(len)
        except score.WrongThreadError as error:
            caught.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(caught) == 1


# ---------------------------------------------------------------- run_transaction


def test_it_runs_again_on_what_caused_the_conflict(client: Client) -> None:
    mine, theirs = two(client)
    seen = []

    def double(t: Any) -> int:
        seen.append(t["n"])
        if len(seen) == 1:
            theirs["n"] = 11
        t["n"] *= 2
        return t["n"]

    assert mine.run_transaction(double) == 22
    assert seen == [1, 11]
    theirs.sync()
    assert theirs["n"] == mine["n"] == 22


def test_what_is_decided_without_a_change_is_decided_on_the_latest(client: Client) -> None:
    mine, theirs = two(client)
    seen = []

    def take(t: Any) -> int | None:
        seen.append(list(t["l"]))
        return t["l"].pop() if t["l"] else None

    assert mine.run_transaction(take) == 1
    assert mine.run_transaction(take) is None
    theirs.sync()
    theirs["l"].append(2)
    assert mine["l"] == []
    assert mine.run_transaction(take) == 2  # and not None for ever
    assert seen == [[1], [], [], [2]]
    assert mine.run_transaction(lambda t: t["n"]) == 1


def test_what_is_raised_is_raised_about_the_latest(client: Client) -> None:
    mine, theirs = two(client)
    theirs["late"] = 7
    assert mine.run_transaction(lambda t: t["late"]) == 7
    runs = 0

    def fail(t: Any) -> None:
        nonlocal runs
        runs += 1
        t["n"] = "never"
        raise KeyError(t["n"])

    with pytest.raises(KeyError, match="never"):
        mine.run_transaction(fail)
    assert runs == 1
    theirs["n"] = 5
    with pytest.raises(KeyError, match="never"):
        mine.run_transaction(fail)
    assert runs == 3
    assert mine["n"] == 5


def test_a_function_that_is_not_behind_is_not_run_twice(client: Client) -> None:
    mine, theirs = two(client)
    runs = []

    def look(t: Any) -> int:
        runs.append(1)
        theirs["l"].append(len(runs))  # the view is behind again, but not behind the call
        return len(t["l"])

    assert mine.run_transaction(look) == 2
    assert len(runs) == 2
    mine.sync()
    assert mine["l"] == [1, 1, 2]


def test_errors_of_score_and_interrupts_leave_at_once(client: Client) -> None:
    mine, theirs = two(client)
    theirs["n"] = 5
    runs = []

    def misuse(t: Any) -> None:
        runs.append(1)
        mine["n"] = 3

    with pytest.raises(score.OpenTransactionError):
        mine.run_transaction(misuse)

    ours, others = SVec[int](client, "v"), SVec[int](client, "v")
    ours.append(1)
    others.sync()

    def conflict_elsewhere(t: Any) -> None:
        runs.append(1)
        ours[0] = 2
        t["n"] = 2
        others[0] = 3

    with pytest.raises(score.ConflictError, match="'v'"):
        mine.run_transaction(conflict_elsewhere)

    def interrupted(t: Any) -> None:
        runs.append(1)
        t["n"] = 2
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mine.run_transaction(interrupted)
    assert len(runs) == 3
    assert mine["n"] == 1
    mine.sync()
    assert mine["n"] == 5


def test_the_deadline_ends_it_and_says_how_often_it_was_tried(
    client: Client, other: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, _ = two(client)
    theirs = SMap[str, Any](other, "m")
    take_turn = client.take_turn

    def behind(replica: Any) -> None:
        other.take_turn(theirs._view.replica)
        take_turn(replica)

    with monkeypatch.context() as patch:
        patch.setattr(client, "take_turn", behind)
        with client.deadline(0.2), pytest.raises(score.DeadlineExceeded) as caught:
            mine.run_transaction(lambda t: t.update(n=theirs.increment("n")))
    assert caught.value.__notes__ == ["run_transaction was overtaken by others 1 times"]
    other.end_turn(theirs._view.replica)
    mine.sync()
    assert mine["n"] == 2
    with client.deadline(0.0), pytest.raises(score.DeadlineExceeded) as caught:
        mine.run_transaction(lambda t: t.update(n=0))
    assert not hasattr(caught.value, "__notes__")
    mine.run_transaction(lambda t: t.update(n=0))
    assert mine["n"] == 0
    with other.deadline(0.4):  # the turn was given back
        SMap[str, Any](other, "m")["n"] = 1


def test_what_went_wrong_in_a_turn_is_what_is_raised(client: Client) -> None:
    mine, theirs = two(client)

    def change_it_elsewhere(t: Any) -> None:
        theirs.increment("n")  # the second time this waits for the very turn that it is in
        t["n"] = 0

    with client.deadline(0.2), pytest.raises(score.OutcomeUnknown) as caught:
        mine.run_transaction(change_it_elsewhere)
    assert client.outcome(caught.value.token).verdict in ("taken", "not taken")


def test_all_attempts_together_have_one_deadline(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    with score.connect(relay.url, timeout=1) as client:
        mine, theirs = two(client)
        monkeypatch.setattr(client, "take_turn", lambda _: None)  # with turns it would go through
        attempts = 0

        def overtaken(t: Any) -> None:
            nonlocal attempts
            attempts += 1
            assert attempts < 10_000, "no end"
            theirs.increment("n")  # shares the deadline
            t["n"] = 0

        with pytest.raises(TimeoutError):
            mine.run_transaction(overtaken)
        assert attempts > 1
        theirs.sync()  # has its own again


def test_a_mere_look_asks_for_no_turn(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = two(client)
    theirs["n"] = 5

    def turn(_: Any) -> None:
        raise AssertionError("nobody was refused")

    monkeypatch.setattr(client, "take_turn", turn)
    assert mine.run_transaction(lambda t: t["n"]) == 5


def counted_turns(client: Client, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """For whom *client* takes turns from now on."""
    taken: list[Any] = []
    take_turn = client.take_turn

    def counted(replica: Any) -> None:
        taken.append(replica)
        take_turn(replica)

    monkeypatch.setattr(client, "take_turn", counted)
    return taken


def test_who_was_refused_begins_with_a_turn_until_one_brings_nothing_new(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = two(client)
    turns, runs = counted_turns(client, monkeypatch), []

    def bump(t: Any) -> None:
        runs.append(1)
        t["n"] += 1

    def cost() -> tuple[int, int]:
        """Runs and turns of one transaction."""
        before = len(runs), len(turns)
        mine.run_transaction(bump)
        return len(runs) - before[0], len(turns) - before[1]

    assert cost() == (1, 0)
    theirs["other"] = 1
    assert cost() == (2, 1)
    theirs["other"] = 2
    assert cost() == (1, 1)  # without, it would have been refused
    assert cost() == (1, 1)  # without, it would have been taken
    assert cost() == (1, 0)
    assert mine["n"] == 6


def test_a_turn_that_was_not_used_is_given_back_and_the_next_call_does_without(
    client: Client, other: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, _ = two(client)
    theirs, turns = SMap[str, Any](other, "m"), counted_turns(client, monkeypatch)

    def lose() -> None:
        """A race, so that the next one begins with a turn."""
        theirs["other"] = 1
        mine.run_transaction(lambda t: t.update(n=1))
        theirs["n"] = 7
        turns.clear()

    def fail(t: Any) -> None:
        raise KeyError(t["n"])

    lose()
    assert mine.run_transaction(lambda t: t["n"]) == 7
    with other.deadline(0.4):  # less than a lease
        theirs["n"] = 8
    assert mine.run_transaction(lambda t: t["n"]) == 8
    assert len(turns) == 1
    lose()
    with pytest.raises(KeyError, match="7"):
        mine.run_transaction(fail)
    with other.deadline(0.4):
        theirs["n"] = 8
    with pytest.raises(KeyError, match="8"):
        mine.run_transaction(fail)
    assert len(turns) == 1


def test_a_turn_that_does_not_come_ends_with_the_deadline(client: Client, other: Client) -> None:
    mine, theirs = two(client)
    theirs["other"] = 1
    mine.run_transaction(lambda t: t.update(n=1))
    held = SMap[str, Any](other, "m")
    other.take_turn(held._view.replica)
    with client.deadline(0.2), pytest.raises(score.DeadlineExceeded) as caught:
        mine.run_transaction(lambda t: t.update(n=2))
    assert not hasattr(caught.value, "__notes__")  # nobody was first: nothing was tried
    other.end_turn(held._view.replica)
    mine.run_transaction(lambda t: t.update(n=t["n"] + 1))
    assert mine["n"] == 2


def test_a_nested_container_can_have_its_own(client: Client) -> None:
    mine, theirs = two(client)
    handle = mine["l"]
    theirs["n"] = 2
    assert handle.run_transaction(lambda t: t.pop()) == 1
    assert mine == {"n": 2, "l": []}
    theirs["l"] = ["new"]
    with pytest.raises(score.StaleHandleError):
        handle.run_transaction(lambda t: t.append(1))
    assert mine["l"] == ["new"]


def test_lists_and_stacks_have_them_as_well(client: Client) -> None:
    log, others = SVec[int](client, "log"), SVec[int](client, "log")
    others.extend([3, 1, 2])

    def keep_sorted(t: Any) -> list[int]:
        t.append(0)
        t.sort()
        return t[:2]

    assert log.run_transaction(keep_sorted) == [0, 1]
    assert log == [0, 1, 2, 3]
    work = SStack[int](client, "work")
    work.extend([1, 2, 3])
    with work.transaction() as t:
        t.push(t.pop() + t.pop())
    assert list(work) == [5, 1]


# ---------------------------------------------------------------- many, and a bad network


def test_32_threads_that_read_modify_write_one_key_lose_nothing(client: Client) -> None:
    rounds = 3
    returned: list[int] = []

    def bump(t: Any) -> int:
        t["n"] = t.get("n", 0) + 1
        return t["n"]

    def work() -> None:
        with score.connect(client.url, timeout=60) as own:
            counter = SMap[str, int](own, "counter")
            for _ in range(rounds):
                returned.append(counter.run_transaction(bump))

    threads = [threading.Thread(target=work) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert SMap[str, int](client, "counter") == {"n": 32 * rounds}
    assert sorted(returned) == list(range(1, 32 * rounds + 1))


def test_a_connection_cut_at_any_byte_counts_once(relay: Relay) -> None:
    def bump(t: Any) -> int:
        t["n"] = t.get("n", 0) + 1
        return t["n"]

    def behind(client: Client) -> int:
        """A transaction that is refused once, and what it returned."""
        counter = SMap[str, int](client, "counter")
        direct["noise"] = 0
        return counter.run_transaction(bump)

    with score.connect(relay.url) as other:
        direct = SMap[str, int](other, "counter")
        direct["noise"] = 0
        before = relay.bytes_up, relay.bytes_down
        with score.connect(relay.url) as client:
            assert behind(client) == 1
        spans = relay.bytes_up - before[0], relay.bytes_down - before[1]
        counted = 1
        for direction, span in enumerate(spans):
            for cut in range(0, span, 17):
                relay.cut_next(*((cut, None) if direction == 0 else (None, cut)))
                with score.connect(relay.url, wait=30, timeout=30) as client:
                    counted += 1
                    assert behind(client) == counted


def test_an_unknown_outcome_is_never_run_again(relay: Relay) -> None:
    runs = []
    with score.connect(relay.url, timeout=1) as client:
        mine = SMap[str, int](client, "m")
        mine["n"] = 1

        def bump(t: Any) -> None:
            runs.append(1)
            t["n"] += 1
            if len(runs) == 1:
                relay.refuse()

        with pytest.raises((score.OutcomeUnknown, score.DeadlineExceeded)) as caught:
            mine.run_transaction(bump)
        assert len(runs) == 1
        relay.accept()
        if isinstance(caught.value, score.OutcomeUnknown):
            taken = client.outcome(caught.value.token).verdict == "taken"
        else:
            taken = False
        mine.sync()
        assert mine["n"] == 1 + taken


def test_failing_operations_say_which(client: Client) -> None:
    deep: Any = []
    for _ in range(40):
        deep = [deep]
    mine, theirs = two(client)
    mine["deep"] = deep

    def too_deep(t: Any) -> None:
        t["n"] = 2
        below = t["deep"]
        while below:
            [below] = below
        below.append(deep)

    for attempt in (
        lambda: mine.run_transaction(too_deep),
        lambda: SMap[str, Any](client, "m").run_transaction(too_deep),
    ):
        call: Callable[[], object] = attempt
        with pytest.raises(score.UnstorableError) as caught:
            call()
        assert caught.value.operation == 1  # type: ignore[attr-defined]
    theirs.sync()
    mine.sync()
    assert theirs["n"] == mine["n"] == 1
