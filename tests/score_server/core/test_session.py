"""What a session remembers, and for how long."""

from __future__ import annotations

import random

import pytest

from score_server.core.session import Record, Refusal, Session
from score_server.stores.base import SessionChange, SessionState, StoredOutcome
from score_server.wire.messages import NOT_HEAD

ID = b"s" * 16


def taken(position: int, *, pinned: bool = False) -> Record:
    return Record(position, "g", 0, 0, pinned)


def session(**outcomes: Record) -> Session:
    made = Session(ID, "me", 1000)
    for name, record in outcomes.items():
        made.put(int(name[1:]), record)
    return made


def test_loading_and_writing_are_inverse() -> None:
    outcomes = (
        StoredOutcome(2, 5, "g", True),
        StoredOutcome(7, 0, "", True),
        StoredOutcome(8, 6, "g", False),
    )
    loaded = Session.load(SessionState(ID, "me", 1000, 4, outcomes))
    assert loaded.find(2) == Record(5, "g", 0, pinned=True)
    assert (list(loaded.pinned or ()), list(loaded.outcomes())) == ([2], [7, 8])
    assert loaded.change({2, 7, 8, 99}) == SessionChange(ID, "me", 1000, 4, outcomes)


def test_a_run_is_put_as_its_records_would_be_if_all_of_it_is_new() -> None:
    made, one = session(_2=taken(1)), session(_2=taken(1))
    made.settle(1, pinned_max=9)
    made.refuse(9, Refusal(NOT_HEAD, 1, "g", 0))
    for known in (range(1, 3), range(2, 4), range(8, 10)):
        assert not made.is_new(known)
    assert made.is_new(range(3, 9))
    made.put_run(range(3, 5), 7, "g", 4, 6)
    one.put(3, Record(7, "g", 4, 6))
    one.put(4, Record(8, "g", 4, 6))
    assert made.outcomes() == one.outcomes()
    assert type(made.outcomes()[4]) is Record


def test_what_is_settled_is_forgotten_with_its_refusals() -> None:
    made = session(_1=taken(1), _3=taken(2))
    made.refusals = {2: Refusal(NOT_HEAD, 1, "g", 0), 4: Refusal(NOT_HEAD, 1, "g", 0)}
    made.settle(2, pinned_max=9)
    assert (list(made.outcomes()), list(made.refusals), made.settled) == ([3], [4], 2)


def test_settling_less_than_before_changes_nothing() -> None:
    made = session(_1=taken(1))
    made.settle(1, pinned_max=9)
    made.settle(1, pinned_max=9)
    made.settle(0, pinned_max=9)
    assert made.settled == 1


def test_what_was_asked_for_is_kept_beyond_settling() -> None:
    made = session(_1=taken(1, pinned=True), _2=taken(2))
    made.settle(2, pinned_max=9)
    assert made.find(1) == taken(1, pinned=True)
    assert made.knows(1)
    assert made.find(2) is None
    assert not made.knows(2)


def test_the_oldest_pins_go_when_there_are_too_many_and_the_store_is_told() -> None:
    made = session(**{f"_{n}": taken(n, pinned=True) for n in range(1, 6)})
    made.settle(5, pinned_max=2)
    assert list(made.pinned or ()) == [4, 5]
    assert made.change(set()).dropped == (1, 2, 3)


def test_an_unsettled_outcome_is_never_dropped_for_room() -> None:
    made = session(**{f"_{n}": taken(n, pinned=True) for n in range(1, 6)})
    made.settle(1, pinned_max=0)
    assert list(made.outcomes()) == [2, 3, 4, 5]


def test_the_latest_settled_taken_name_is_remembered() -> None:
    made = session(_1=taken(1), _2=taken(2), _3=Record(0, "", 0, pinned=True))
    made.settle(3, pinned_max=0)
    assert made.last_taken == 2


def test_taking_back_an_outcome_leaves_nothing_or_what_was_there() -> None:
    made = session(_1=taken(1))
    made.put(1, None)
    assert made.find(1) is None
    made.put(2, taken(2, pinned=True))
    made.settle(2, pinned_max=9)
    made.put(2, None)
    assert made.is_empty()


def test_taking_back_a_pin_of_a_name_settled_meanwhile_forgets_it() -> None:
    made = session(_1=taken(1, pinned=True))
    made.settle(1, pinned_max=9)
    made.put(1, taken(1))
    assert made.find(1) is None
    made.put(1, taken(1, pinned=True))
    assert made.find(1) == taken(1, pinned=True)


def test_noes_and_submissions_are_counted_apart() -> None:
    made = session(_1=taken(1), _2=Record(0, "", 0, pinned=True))
    made.refuse(3, Refusal(NOT_HEAD, 1, "g", 0))
    assert (made.unsettled(), made.voided()) == (2, 1)
    assert not made.is_empty()


def test_an_author_is_owed_what_came_behind_what_it_had_seen_until_it_has_settled() -> None:
    made = session(_1=Record(9, "g", 0, 3), _2=Record(10, "g", 0, 5), _3=Record(4, "h", 0, 1))
    assert (made.hold("g"), made.hold("h"), made.hold("i")) == (3, 1, None)
    made.settle(1, pinned_max=9)
    assert made.hold("g") == 5


def test_of_a_group_that_goes_takings_are_found_and_refusals_forgotten() -> None:
    made = session(_1=taken(1, pinned=True), _2=taken(2), _3=Record(4, "h", 0))
    made.settle(1, pinned_max=9)
    assert [seq for seq, _ in made.taken_in("g")] == [1, 2]
    made.refusals = {4: Refusal(NOT_HEAD, 1, "g", 0), 5: Refusal(NOT_HEAD, 1, "h", 0)}
    made.forget_refusals("g")
    assert list(made.refusals) == [5]


def test_what_the_store_is_to_forget_is_named_once() -> None:
    made = session()
    for seq in (3, 1, 3):
        made.drop(seq)
    assert made.change(()).dropped == (1, 3)


class Plain:
    """A session in dicts: what the slots of ``Session`` are compared with."""

    def __init__(self) -> None:
        self.outcomes: dict[int, Record] = {}
        self.pinned: dict[int, Record] = {}
        self.refusals: dict[int, Refusal] = {}
        self.settled = 0

    def put(self, seq: int, record: Record | None) -> None:
        kept = self.outcomes if seq > self.settled else self.pinned
        if record is None or (seq <= self.settled and not record.pinned):
            kept.pop(seq, None)
        else:
            kept[seq] = record

    def settle(self, upto: int) -> None:
        self.settled = max(self.settled, upto)
        for seq in [seq for seq in self.outcomes if seq <= upto]:
            record = self.outcomes.pop(seq)
            if record.pinned:
                self.pinned[seq] = record
        self.refusals = {seq: why for seq, why in self.refusals.items() if seq > self.settled}


@pytest.mark.parametrize("seed", range(100))
def test_a_session_holds_what_dicts_would_hold(seed: int) -> None:
    choose = random.Random(seed)
    made, plain = session(), Plain()
    for _ in range(choose.choice((5, 40))):
        seq = choose.randint(max(1, plain.settled - 2), plain.settled + 4)
        record = Record(choose.randint(0, 9), choose.choice("gh"), 0, 0, choose.random() < 0.3)
        known = seq in plain.outcomes or seq in plain.refusals or seq in plain.pinned
        assert made.is_new(range(seq, seq + 1)) is not (known or seq <= plain.settled)
        match choose.choice(("take", "put", "take back", "run", "settle", "refuse", "not")):
            case "take" if record.position and made.is_new(range(seq, seq + 1)):
                made.take(seq, *record[:4])
                plain.put(seq, record._replace(pinned=False))
            case "put":
                made.put(seq, record)
                plain.put(seq, record)
            case "take back":
                made.put(seq, None)
                plain.put(seq, None)
            case "run" if made.is_new(range(seq, seq + 2)):
                made.put_run(range(seq, seq + 2), 5, "g", 1, 2)
                for row in range(2):
                    plain.put(seq + row, Record(5 + row, "g", 1, 2))
            case "settle":
                made.settle(seq, pinned_max=99)
                plain.settle(seq)
            case "refuse" if seq > plain.settled:
                made.refuse(seq, Refusal(NOT_HEAD, 1, "g", 0))
                plain.refusals[seq] = Refusal(NOT_HEAD, 1, "g", 0)
            case "not":
                made.unrefuse(seq)
                plain.refusals.pop(seq, None)
        found = plain.outcomes | plain.pinned
        assert (made.outcomes(), made.pinned or {}, made.refusals or {}) == (
            plain.outcomes, plain.pinned, plain.refusals,
        )  # fmt: skip
        for name in range(1, plain.settled + 7):
            assert made.find(name) == found.get(name)
            assert made.refusal(name) == plain.refusals.get(name)
            assert made.knows(name) is (name in found or name in plain.refusals)
        assert made.count() == len(plain.outcomes) + len(plain.refusals)
        assert made.is_empty() is not bool(found)
        owed = [record.seen for record in plain.outcomes.values() if record.group == "g"]
        assert made.hold("g") == min(owed, default=None)
