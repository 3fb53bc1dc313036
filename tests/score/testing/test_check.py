"""The history checker against good histories, and against each way of breaking each promise.

Nothing here is trusted before it was seen to fail: every planted violation below has to be found in several
generated histories, under the promise that it breaks.
"""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from score.testing import check as module
from score.testing.check import PROMISES, SHOWN_MAX, check, main
from score.testing.history import (
    Ask,
    History,
    HistoryError,
    LogEntry,
    Operation,
    State,
    Sync,
    write_history,
)

from .histories import good_history

SEEDS = range(3)


@cache
def _good(seed: int) -> History:
    return good_history(seed, 400)


def good(seed: int) -> History:
    """A copy that a plant may change."""
    lists = {
        field.name: list(value) if isinstance(value := getattr(_good(seed), field.name), list) else value
        for field in dataclasses.fields(History)
    }  # fmt: skip
    return History(**lists)


# ---------------------------------------------------------------- finding where to plant


class Planting:
    """One history, and the means to break it."""

    def __init__(self, seed: int) -> None:
        self.history = good(seed)
        self.choose = random.Random(seed)

    def pick(
        self, among: list, holds: Callable[..., bool] = lambda _: True, last: bool = False
    ) -> int:
        """The index of one that *holds*, which there must be: any, or the last."""
        found = [i for i, record in enumerate(among) if holds(record)]
        assert found, "the good history lacks what this plant needs"
        return found[-1] if last else self.choose.choice(found)

    def operation(self, *told: str, **options: bool) -> int:
        return self.pick(self.history.operations, lambda op: op.told in told, **options)

    def entry_of(self, operation: Operation) -> int:
        """The index of its entry in the log."""
        name = (operation.session, operation.seq)
        return self.pick(self.history.log, lambda e: (e.session, e.seq) == name)

    def change(self, among: list, index: int, **fields: object) -> None:
        among[index] = among[index]._replace(**fields)

    def change_operation(self, index: int, **fields: object) -> None:
        self.change(self.history.operations, index, **fields)

    def group(self, name: str) -> list[LogEntry]:
        return [entry for entry in self.history.log if entry.group == name]

    def put_group(self, name: str, entries: list[LogEntry]) -> None:
        """Make *entries* the log of group *name*, each following the one before."""
        before = 0
        linked = []
        for entry in entries:
            linked.append(entry._replace(predecessor=before))
            before = entry.position
        self.history.log = [e for e in self.history.log if e.group != name] + linked

    def times(self) -> int:
        """A moment after everything."""
        return 10**9


PLANTS: dict[str, list[Callable[[Planting], None]]] = {promise: [] for promise in PROMISES}


def plants(promise: str) -> Callable[[Callable[[Planting], None]], Callable[[Planting], None]]:
    def add(plant: Callable[[Planting], None]) -> Callable[[Planting], None]:
        PLANTS[promise].append(plant)
        return plant

    return add


# ---------------------------------------------------------------- P1


@plants("P1")
def the_last_acknowledged_change_is_lost(p: Planting) -> None:
    index = p.pick(p.history.operations, lambda op: op.told == "taken", last=True)
    name = p.history.operations[index].group
    place = p.history.operations[index].place
    assert place is not None
    p.put_group(name, [e for e in p.group(name) if e.position < place])


@plants("P1")
def one_in_the_middle_is_lost_without_a_gap(p: Planting) -> None:
    operation = p.history.operations[p.operation("taken")]
    p.put_group(
        operation.group, [e for e in p.group(operation.group) if e.position != operation.place]
    )


@plants("P1")
def a_whole_group_is_lost(p: Planting) -> None:
    p.put_group(p.history.operations[p.operation("taken")].group, [])


@plants("P1")
def an_acknowledged_failed_intent_is_lost(p: Planting) -> None:
    operation = p.history.operations[p.operation("failed")]
    p.put_group(
        operation.group, [e for e in p.group(operation.group) if e.position != operation.place]
    )


@plants("P1")
def another_stands_in_its_place(p: Planting) -> None:
    index = p.entry_of(p.history.operations[p.operation("taken")])
    p.change(p.history.log, index, session="f" * 32, seq=1)


@plants("P1")
def an_unknown_one_is_acknowledged_though_it_did_not_land(p: Planting) -> None:
    landed = {(entry.session, entry.seq) for entry in p.history.log}
    index = p.pick(
        p.history.operations,
        lambda op: op.told == "unknown" and (op.session, op.seq) not in landed,
    )
    p.change_operation(index, told="taken", place=p.history.log[-1].position)


# ---------------------------------------------------------------- P2


@plants("P2")
def a_change_lands_twice(p: Planting) -> None:
    entry = p.history.log[p.entry_of(p.history.operations[p.operation("taken")])]
    again = entry._replace(position=10**6)
    p.put_group(entry.group, [*p.group(entry.group), again])


@plants("P2")
def a_change_lands_in_another_group_as_well(p: Planting) -> None:
    entry = p.history.log[p.pick(p.history.log, lambda e: e.group == "g0")]
    p.put_group("g1", [*p.group("g1"), entry._replace(group="g1", position=10**6)])


@plants("P2")
def a_change_lands_in_another_group_instead(p: Planting) -> None:
    index = p.pick(p.history.operations, lambda op: op.told == "taken" and op.group == "g0")
    p.change_operation(index, group="g1")


@plants("P2")
def something_lands_that_nobody_submitted(p: Planting) -> None:
    entry = p.group("g0")[-1]
    invented = entry._replace(position=10**6, seq=10**6)
    p.put_group("g0", [*p.group("g0"), invented])


@plants("P2")
def something_lands_by_a_client_that_nobody_knows(p: Planting) -> None:
    entry = p.group("g0")[-1]
    invented = entry._replace(position=10**6, session="f" * 32)
    p.put_group("g0", [*p.group("g0"), invented])


@plants("P2")
def an_answer_names_another_place(p: Planting) -> None:
    index = p.operation("taken")
    place = p.history.operations[index].place
    assert place is not None
    p.change_operation(index, place=place - 1)


@plants("P2")
def a_name_is_given_to_two_changes(p: Planting) -> None:
    index = p.operation("taken")
    again = p.history.operations[index]._replace(client="thief", view=99)
    p.history.operations.append(again)


@plants("P2")
def an_outcome_is_forgotten_at_once(p: Planting) -> None:
    p.change(p.history.asks, p.pick(p.history.asks), verdict="expired", place=None)


@plants("P2")
def an_outcome_is_forgotten_a_moment_too_early(p: Planting) -> None:
    index = p.pick(p.history.asks)
    ask = p.history.asks[index]
    author = next(
        op for op in p.history.operations if (op.session, op.seq) == (ask.session, ask.seq)
    )
    assert author.ended is not None
    p.history.retention = ask.ended - author.ended + 1
    p.change(p.history.asks, index, verdict="expired", place=None)


# ---------------------------------------------------------------- P3


@plants("P3")
def somebody_slipped_in_before_a_strict_change(p: Planting) -> None:
    index = p.pick(p.history.operations, lambda op: op.told == "taken" and op.strict and op.seen)
    operation = p.history.operations[index]
    entries = p.group(operation.group)
    places = [entry.position for entry in entries]
    older = places.index(operation.seen) - 1
    p.change_operation(index, seen=places[older] if older >= 0 else 0)


@plants("P3")
def a_strict_change_is_accepted_blindly(p: Planting) -> None:
    landed = [op for op in p.history.operations if op.told == "taken" and not op.strict]
    operation = next(
        op for op in landed
        if p.history.log[p.entry_of(op)].predecessor != op.seen
    )  # fmt: skip
    p.change_operation(p.history.operations.index(operation), strict=True)


@plants("P3")
def a_strict_change_saw_the_future(p: Planting) -> None:
    index = p.pick(p.history.operations, lambda op: op.told == "taken" and op.strict)
    p.change_operation(index, seen=p.history.operations[index].place)


@plants("P3")
def an_unknown_strict_change_is_accepted_wrongly(p: Planting) -> None:
    landed = {(e.session, e.seq): e for e in p.history.log}
    index = p.pick(
        p.history.operations,
        lambda op: op.told == "unknown" and (op.session, op.seq) in landed,
    )
    p.change_operation(index, strict=True, seen=10**6)


@plants("P3")
def a_strict_change_is_refused_for_the_head_it_had_seen(p: Planting) -> None:
    index = p.operation("not head")
    p.change_operation(index, seen=p.history.operations[index].place)


@plants("P3")
def a_strict_change_is_refused_for_a_head_that_was_rolled_back(p: Planting) -> None:
    p.change_operation(p.operation("not head"), place=10**6, at=10**6)


# ---------------------------------------------------------------- P4


@plants("P4")
def an_entry_is_missing_from_the_log(p: Planting) -> None:
    del p.history.log[p.pick(p.history.log, lambda e: e.predecessor > 0)]


@plants("P4")
def two_entries_of_the_log_change_places(p: Planting) -> None:
    log = p.history.log
    index = p.pick(log, lambda e: e.predecessor > 0)
    log[index - 1], log[index] = log[index], log[index - 1]


@plants("P4")
def an_entry_follows_itself(p: Planting) -> None:
    index = p.pick(p.history.log)
    p.change(p.history.log, index, predecessor=p.history.log[index].position)


@plants("P4")
def a_view_stands_where_nothing_is(p: Planting) -> None:
    index = p.pick(p.history.syncs)
    p.change(p.history.syncs, index, at=10**6, chain=None)


@plants("P4")
def a_view_skipped_an_entry(p: Planting) -> None:
    p.change(p.history.syncs, p.pick(p.history.syncs, lambda s: s.at > 0), chain="0" * 32)


@plants("P4")
def an_author_skipped_an_entry(p: Planting) -> None:
    p.change_operation(p.operation("taken"), chain="0" * 32)


@plants("P4")
def a_refused_author_stands_where_nothing_is(p: Planting) -> None:
    p.change_operation(p.operation("not head"), at=10**6, chain=None)


@plants("P4")
def an_author_does_not_see_its_own_change(p: Planting) -> None:
    index = p.pick(p.history.operations, lambda op: op.told == "taken" and op.seen > 0)
    p.change_operation(index, at=p.history.operations[index].seen, chain=None)


@plants("P4")
def a_view_goes_back(p: Planting) -> None:
    late = p.pick(p.history.syncs, lambda s: s.at > 0, last=True)
    moment = p.history.syncs[late].ended + 1
    state = p.history.syncs[late]
    first = p.group(state.group)[0].position
    p.history.states.append(
        State(state.client, state.view, state.group, moment, first, None, None, False)
    )


@plants("P4")
def a_view_folds_to_something_else(p: Planting) -> None:
    entry = p.history.log[p.pick(p.history.log)]
    p.history.states.append(
        State("c0", 99, entry.group, 10**9, entry.position, entry.chain, "wrong", False)
    )


@plants("P4")
def two_views_fold_to_different_things_and_no_log_says_which(p: Planting) -> None:
    p.history.log = [e._replace(digest=None) for e in p.history.log]
    entry = p.history.log[p.pick(p.history.log)]
    for digest in "ab":
        p.history.states.append(
            State("c0", 99, entry.group, 10**9, entry.position, entry.chain, digest, False)
        )


# ---------------------------------------------------------------- P5


def swap(p: Planting, one: LogEntry, two: LogEntry) -> None:
    """Two names exchange their places, in the log and in what their authors were told."""
    entries = []
    for entry in p.group(one.group):
        if entry in (one, two):
            other = two if entry is one else one
            entry = entry._replace(session=other.session, seq=other.seq)
        entries.append(entry._replace(failed=None, chain=None))
    p.put_group(one.group, entries)
    for new, old in ((one.position, two), (two.position, one)):
        for index, op in enumerate(p.history.operations):
            if (op.session, op.seq) == (old.session, old.seq):
                p.change_operation(index, place=new if op.place else None, at=None, strict=False)


@plants("P5")
def a_later_change_stands_before_an_earlier_one(p: Planting) -> None:
    name = p.history.operations[p.operation("taken")].group
    entries = p.group(name)
    early = entries[len(entries) // 4]
    late = next(e for e in entries[3 * len(entries) // 4 :] if e.session != early.session)
    swap(p, early, late)


@plants("P5")
def a_client_s_own_changes_change_places(p: Planting) -> None:
    entries = p.group("g0")
    early = entries[len(entries) // 2]
    late = next(e for e in reversed(entries) if e.session == early.session)
    swap(p, early, late)
    # Not even their times are known: the order of their names is enough.
    p.history.operations = [op._replace(begun=0, told="unknown") for op in p.history.operations]


@plants("P5")
def an_unknown_change_lands_before_it_was_made(p: Planting) -> None:
    landed = {(e.session, e.seq) for e in p.history.log}
    index = p.pick(
        p.history.operations, lambda op: op.told == "unknown" and (op.session, op.seq) in landed
    )
    p.change_operation(index, begun=p.times())


@plants("P5")
def a_sync_misses_what_had_returned(p: Planting) -> None:
    name = "g1"
    entry = p.group(name)[2]
    p.history.syncs.append(
        Sync("late", 1, name, p.times(), p.times() + 1, entry.position, entry.chain)
    )


@plants("P5")
def a_sync_sees_nothing_after_something_had_returned(p: Planting) -> None:
    p.history.syncs.append(Sync("late", 1, "g1", p.times(), p.times() + 1, 0, None))


@plants("P5")
def a_sync_shows_what_had_not_begun(p: Planting) -> None:
    entry = p.group("g1")[-1]
    p.history.syncs.append(Sync("early", 1, "g1", 0, 0, entry.position, entry.chain))


@plants("P5")
def one_sync_shows_less_than_another_that_had_returned(p: Planting) -> None:
    p.history.operations = [op._replace(told="unknown", begun=0) for op in p.history.operations]
    newer, older = p.group("g1")[-1], p.group("g1")[-2]
    now = p.times()
    p.history.syncs.append(Sync("x", 1, "g1", now, now + 1, newer.position, newer.chain))
    p.history.syncs.append(Sync("y", 1, "g1", now + 2, now + 3, older.position, older.chain))


@plants("P5")
def a_refusal_tells_an_old_head(p: Planting) -> None:
    index = p.pick(p.history.operations, lambda op: op.told == "not head", last=True)
    operation = p.history.operations[index]
    old = next(e for e in p.group(operation.group)[3:] if e.position != operation.seen)
    p.change_operation(index, place=old.position)


# ---------------------------------------------------------------- P6


def refuse(p: Planting, told: str, place: int | None) -> None:
    p.change_operation(p.operation("taken"), told=told, place=place)


@plants("P6")
def a_change_lands_that_was_refused_for_the_head(p: Planting) -> None:
    refuse(p, "not head", p.history.log[-1].position)


@plants("P6")
def a_change_lands_that_was_voided_or_had_no_room(p: Planting) -> None:
    refuse(p, "refused", None)


@plants("P6")
def a_failed_intent_changes_something(p: Planting) -> None:
    index = p.entry_of(p.history.operations[p.operation("failed")])
    p.change(p.history.log, index, changed=True)


@plants("P6")
def an_author_is_told_of_a_failure_that_is_none(p: Planting) -> None:
    p.change_operation(p.operation("taken"), told="failed")


@plants("P6")
def an_author_is_not_told_of_a_failure(p: Planting) -> None:
    p.change_operation(p.operation("failed"), told="taken")


# ---------------------------------------------------------------- P7


def ask_of(p: Planting, verdict: str) -> int:
    return p.pick(p.history.asks, lambda ask: ask.verdict == verdict)


@plants("P7")
def a_no_that_became_a_yes(p: Planting) -> None:
    p.change(p.history.asks, ask_of(p, "taken"), verdict="not taken", place=None)


@plants("P7")
def a_yes_for_what_never_landed(p: Planting) -> None:
    place = p.history.log[-1].position
    p.change(p.history.asks, ask_of(p, "not taken"), verdict="taken", place=place)


@plants("P7")
def a_yes_with_another_place(p: Planting) -> None:
    index = ask_of(p, "taken")
    p.change(p.history.asks, index, place=p.history.asks[index].place + 1)


@plants("P7")
def two_who_ask_are_told_different_things(p: Planting) -> None:
    ask = p.history.asks[p.pick(p.history.asks)]
    other = {"taken": "not taken", "not taken": "taken"}[ask.verdict]
    p.history.asks.append(ask._replace(client="other", verdict=other, place=ask.place or 1))


@plants("P7")
def an_expired_outcome_comes_back(p: Planting) -> None:
    p.history.retention = 0
    ask = p.history.asks[p.pick(p.history.asks)]
    p.history.asks.append(
        ask._replace(begun=ask.begun - 2, ended=ask.begun - 1, verdict="expired", place=None)
    )


# ---------------------------------------------------------------- P8


@plants("P8")
def one_view_ends_with_other_content(p: Planting) -> None:
    p.change(p.history.states, p.pick(p.history.states), digest="other")


@plants("P8")
def one_view_ends_with_other_content_and_nobody_folded_the_log(p: Planting) -> None:
    p.history.log = [e._replace(digest=None) for e in p.history.log]
    p.change(p.history.states, p.pick(p.history.states), digest="other")


@plants("P8")
def one_view_ends_behind_the_others(p: Planting) -> None:
    index = p.pick(p.history.states)
    group = p.group(p.history.states[index].group)
    p.change(p.history.states, index, at=group[-2].position, chain=None, digest=group[-2].digest)


@plants("P8")
def one_view_ends_empty(p: Planting) -> None:
    p.change(p.history.states, p.pick(p.history.states), at=0, chain=None, digest=None)


@plants("P8")
def the_log_has_more_than_any_view(p: Planting) -> None:
    entry = p.group("g0")[-1]
    p.put_group("g0", [*p.group("g0"), entry._replace(position=10**6, seq=10**6)])


# ---------------------------------------------------------------- the tests


@pytest.mark.parametrize("seed", SEEDS)
def test_a_good_history_keeps_every_promise_and_each_is_checked_on_something(seed: int) -> None:
    verdict = check(good(seed))
    assert verdict.ok, str(verdict)
    assert all(verdict.checked[promise] > 10 for promise in PROMISES)
    assert str(verdict).startswith("all promises kept; checked on: P1 ")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("promise", "plant"),
    [(promise, plant) for promise in PROMISES for plant in PLANTS[promise]],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_planted_violation_is_found(
    promise: str, plant: Callable[[Planting], None], seed: int
) -> None:
    planting = Planting(seed)
    plant(planting)
    verdict = check(planting.history)
    assert not verdict.ok
    assert promise in {violation.promise for violation in verdict.violations}, str(verdict)
    text = str(verdict)
    assert f"{promise} broken" in text


def test_each_promise_is_broken_in_three_ways_at_least() -> None:
    assert all(len(plants) >= 3 for plants in PLANTS.values())


def test_a_violation_names_the_changes_and_the_places() -> None:
    planting = Planting(0)
    index = planting.operation("taken")
    operation = planting.history.operations[index]
    planting.change_operation(index, place=None if operation.place is None else operation.place - 1)
    (violation,) = [v for v in check(planting.history).violations if v.promise == "P2"]
    assert f"{operation.session}-{operation.seq}" in violation.text
    assert str(operation.place) in str(violation)
    assert f"place={(operation.place or 0) - 1}" in str(violation)


def test_a_change_in_the_wrong_group_is_told_as_that() -> None:
    planting = Planting(0)
    a_change_lands_in_another_group_instead(planting)
    assert "was made for group 'g1'" in str(check(planting.history))


def test_an_empty_history_is_fine_but_checked_on_nothing() -> None:
    verdict = check(History())
    assert verdict.ok
    assert set(verdict.checked.values()) == {0}


def test_a_view_may_stand_before_the_first_entry() -> None:
    history = History(syncs=[Sync("a", 1, "g", 1, 2, 0, None)])
    assert check(history).ok


def test_changes_of_clients_that_were_not_recorded_may_be_allowed() -> None:
    history = History(log=[LogEntry("g", 1, 0, "f" * 32, 1)])
    assert not check(history).ok
    assert check(history, others=True).ok


def test_calls_that_overlap_may_stand_in_either_order() -> None:
    def call(client: str, begun: int, ended: int, place: int) -> Operation:
        return Operation(
            client, 1, 1, "g", begun, ended, client * 32, 1, 0, False, "taken", place, place, None
        )

    log = [LogEntry("g", 1, 0, "b" * 32, 1), LogEntry("g", 2, 1, "a" * 32, 1)]
    overlapping = [call("a", 1, 5, 2), call("b", 5, 6, 1)]
    assert check(History(overlapping, log=log)).ok
    one_after_the_other = [call("a", 1, 4, 2), call("b", 5, 6, 1)]
    (violation,) = check(History(one_after_the_other, log=log)).violations
    assert violation.promise == "P5"


def test_what_its_author_was_told_may_be_forgotten_at_once() -> None:
    history = good(0)
    told = next(op for op in history.operations if op.told == "taken")
    assert told.session is not None
    assert told.seq is not None
    history.asks.append(Ask("late", 10**9, 10**9 + 1, told.session, told.seq, "expired", None))
    assert check(history).ok


def test_an_outcome_may_be_forgotten_after_the_retention() -> None:
    history = good(0)
    ask = history.asks[0]
    late = ask._replace(begun=10**9, ended=10**9 + 1, verdict="expired", place=None)
    history.asks.append(late)
    assert not check(history).ok
    history.retention = 10**8
    assert check(history).ok


def test_what_was_never_sent_says_nothing() -> None:
    history = good(0)
    operation = Operation("x", 1, 1, "g0", 1, 2, None, None, 0, False, "unsent", None, None, None)
    history.operations.append(operation)
    assert check(history).ok


def test_an_unknown_word_is_no_answer() -> None:
    history = good(0)
    history.operations[0] = history.operations[0]._replace(told="perhaps")  # type: ignore[arg-type]
    with pytest.raises(HistoryError, match="perhaps"):
        check(history)


def test_a_long_list_of_violations_is_cut() -> None:
    history = good(0)
    history.syncs = [sync._replace(chain="0") for sync in history.syncs]
    text = str(check(history))
    assert text.count("P4 a view") == SHOWN_MAX
    assert "... and " in text


# ---------------------------------------------------------------- the command


@pytest.fixture
def good_file(tmp_path: Path) -> Path:
    write_history(good(0), tmp_path / "good.jsonl")
    return tmp_path / "good.jsonl"


def test_the_command_says_how_it_went_by_its_exit_status(
    good_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(good_file)]) == 0
    assert "all promises kept" in capsys.readouterr().out
    planting = Planting(0)
    a_no_that_became_a_yes(planting)
    write_history(planting.history, good_file)
    assert main([str(good_file)]) == 1
    assert "P7 broken 1 times" in capsys.readouterr().out
    good_file.write_text("no history\n")
    assert main([str(good_file)]) == 2
    assert "line 1 is no JSON" in capsys.readouterr().err
    assert main([str(good_file.with_name("absent"))]) == 2
    assert "absent" in capsys.readouterr().err


def test_the_command_joins_files_and_lets_others_make_changes(
    good_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = good_file.with_name("other.jsonl")
    write_history(History(log=[LogEntry("elsewhere", 1, 0, "f" * 32, 1)]), other)
    assert main([str(good_file), str(other)]) == 1
    assert main(["--others", str(good_file), str(other)]) == 0


def test_it_runs_as_a_module(good_file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module.__name__, str(good_file)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0
    assert "all promises kept" in done.stdout
