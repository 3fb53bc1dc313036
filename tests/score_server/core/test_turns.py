"""One turn at a time, in order, for a lease; everybody else's submissions wait."""

from __future__ import annotations

from score_server.core.turns import Asked, Turns, TurnTable

LEASE = 500


def wait(turns: Turns[str], *line: Asked) -> None:
    assert all(map(turns.ask, line))


def test_turns_are_granted_in_order_one_at_a_time() -> None:
    turns: Turns[str] = Turns()
    first, second = Asked(1, 1, 7), Asked(2, 1, 8)
    wait(turns, first, second)
    assert turns.grant(0, LEASE) == first
    assert turns.grant(0, LEASE) is None
    assert turns.end(1, 1)
    assert turns.grant(10, LEASE) == second
    assert turns.until_ms == 510
    assert turns.end(2, 1)
    assert turns.grant(20, LEASE) is None
    assert turns.idle


def test_a_group_is_busy_from_when_somebody_asks_until_all_is_over() -> None:
    table: TurnTable[str, str] = TurnTable()
    assert "g" not in table.busy
    table.ask("g", Asked(1, 1, 7))
    assert "g" in table.busy
    assert "h" not in table.busy
    table.leave("g", 1, 1)
    table.grant("g", 0, LEASE)
    assert "g" not in table.busy


def test_the_first_in_line_is_known_while_a_turn_lasts() -> None:
    table: TurnTable[str, str] = TurnTable()
    assert table.first_in_line("g") is None
    for connection in (1, 2, 3):
        table.ask("g", Asked(connection, 1, 7))
    table.grant("g", 0, LEASE)
    assert table.first_in_line("g") == Asked(2, 1, 7)
    table.leave("g", 2, 1)
    assert table.first_in_line("g") == Asked(3, 1, 7)
    table.leave("g", 3, 1)
    assert table.first_in_line("g") is None


def test_only_the_holder_ends_its_turn() -> None:
    turns: Turns[str] = Turns()
    wait(turns, Asked(1, 1, 7))
    turns.grant(0, LEASE)
    assert not turns.end(1, 2)
    assert not turns.end(2, 1)
    assert turns.holder == (1, 1)
    assert not turns.idle


def test_others_are_held_up_while_a_turn_lasts_and_the_holder_is_not() -> None:
    turns: Turns[str] = Turns()
    assert not turns.holds_up(2, 1)
    wait(turns, Asked(1, 1, 7))
    assert not turns.holds_up(2, 1)
    turns.grant(0, LEASE)
    assert turns.holds_up(2, 1)
    assert turns.holds_up(1, 2)
    assert not turns.holds_up(1, 1)


def test_a_connections_submissions_keep_their_order_behind_its_parked_ones() -> None:
    turns: Turns[str] = Turns()
    turns.parked.append((2, "submission"))
    assert turns.holds_up(2, 1)
    assert not turns.holds_up(3, 1)
    assert not turns.idle


def test_no_turn_begins_before_the_parked_were_judged() -> None:
    turns: Turns[str] = Turns()
    wait(turns, Asked(1, 1, 7))
    turns.parked.append((2, "submission"))
    assert turns.grant(0, LEASE) is None
    turns.forget_connection(3)
    assert turns.parked
    turns.forget_connection(2)
    assert turns.grant(0, LEASE) is not None


def test_a_connection_that_is_gone_is_nowhere_any_more() -> None:
    turns: Turns[str] = Turns()
    wait(turns, Asked(1, 1, 7), Asked(1, 2, 8), Asked(2, 1, 9))
    turns.grant(0, LEASE)
    turns.parked += [(1, "a"), (2, "b")]
    turns.forget_connection(1)
    assert turns.holder is None
    assert (list(turns.line.values()), list(turns.parked)) == ([Asked(2, 1, 9)], [(2, "b")])


def test_a_lease_ends_a_turn_in_time() -> None:
    turns: Turns[str] = Turns()
    assert not turns.expire(10_000)
    wait(turns, Asked(1, 1, 7))
    turns.grant(100, LEASE)
    assert not turns.expire(599)
    assert turns.expire(600)
    assert turns.holder is None


def test_a_channel_that_is_gone_waits_for_nothing_and_holds_nothing() -> None:
    turns: Turns[str] = Turns()
    wait(turns, Asked(1, 1, 7), Asked(2, 1, 8), Asked(2, 2, 9))
    turns.grant(0, LEASE)
    assert not turns.forget_channel(2, 1)
    assert list(turns.line.values()) == [Asked(2, 2, 9)]
    assert turns.forget_channel(1, 1)
    assert turns.holder is None


def test_a_channel_waits_for_one_turn_at_a_time() -> None:
    turns: Turns[str] = Turns()
    assert turns.ask(Asked(1, 1, 7))
    assert not turns.ask(Asked(1, 1, 8))
    assert turns.ask(Asked(1, 2, 9))
    assert turns.grant(0, LEASE) == Asked(1, 1, 7)
    assert turns.ask(Asked(1, 1, 10))  # the holder may already ask for its next one


def test_the_table_keeps_only_groups_in_which_somebody_waits() -> None:
    table: TurnTable[str, str] = TurnTable()
    assert table.deadline_ms() is None
    assert table.grant("g", 0, LEASE) is None
    assert table.next_parked("g") is None
    assert not table.park("g", 1, 1, "x")
    table.end("g", 1, 1)
    table.leave("g", 1, 1)
    assert table.ask("g", Asked(1, 1, 7))
    assert not table.ask("g", Asked(1, 1, 8))
    assert table.grant("g", 100, LEASE) == Asked(1, 1, 7)
    assert table.deadline_ms() == 600
    assert table.park("g", 2, 1, "parked")
    assert not table.park("g", 1, 1, "the holder's")
    assert table.next_parked("g") is None
    table.end("g", 1, 1)
    assert table.next_parked("g") == (2, "parked")
    assert table.grant("g", 100, LEASE) is None
    assert table.forget_connection(1) == []


def test_the_table_says_which_groups_to_advance() -> None:
    table: TurnTable[str, str] = TurnTable()
    for group in "gh":
        table.ask(group, Asked(1, 1, 7))
        table.grant(group, 0, LEASE)
    table.ask("h", Asked(2, 1, 8))
    assert table.expire(LEASE - 1) == []
    assert table.forget_connection(3) == ["g", "h"]
    table.leave("h", 1, 1)
    assert table.grant("h", 10, LEASE) == Asked(2, 1, 8)
    assert table.expire(LEASE) == ["g"]
    assert table.grant("g", LEASE, LEASE) is None
    table.clear()
    assert table.deadline_ms() is None
