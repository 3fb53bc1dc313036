"""Flags, then variables, then defaults; what makes no sense is refused with what to write instead."""

from __future__ import annotations

import pytest

from score_server.config import (
    Address,
    Config,
    ConfigError,
    check_store,
    parse,
    parse_address,
)

STORE = ("--store", "memory:")
LOOPBACK = Address("127.0.0.1", 7737)


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7737", Address("127.0.0.1", 7737)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:65535", Address("::1", 65535)),
    ],
)
def test_an_address_is_read_and_written_alike(text: str, address: Address) -> None:
    assert parse_address(text, "--listen") == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    ["", "7737", ":7737", "localhost", "localhost:", "::1:7737", "[::1]", "[::1]7737", "[localhost]:1",
     "[]:1", "a:-1", "a:+1", "a:1_0", "a:²", "a:65536", "a: 1"],
)  # fmt: skip
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(text, "SCORE_LISTEN")
    assert str(caught.value).startswith(f"SCORE_LISTEN {text!r}: ")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_addresses_are_known(host: str) -> None:
    assert Address(host, 1).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org", "localhost.evil"])
def test_everything_else_counts_as_reachable(host: str) -> None:
    assert not Address(host, 1).is_loopback


def test_an_address_beyond_loopback_needs_no_auth_to_be_said() -> None:
    open_to_all = ("--listen", "127.0.0.1:1", "--listen", "0.0.0.0:2")
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0:2 can be reached.*--no-auth"):
        parse([*STORE, *open_to_all], {})
    said = parse([*STORE, *open_to_all, "--no-auth"], {})
    assert said.listen == (Address("127.0.0.1", 1), Address("0.0.0.0", 2))
    assert parse([*STORE, *open_to_all], {"SCORE_NO_AUTH": "1"}) == said
    with pytest.raises(ConfigError, match="--no-auth"):
        parse([*STORE, *open_to_all], {"SCORE_NO_AUTH": "off"})


# ---------------------------------------------------------------- stores


@pytest.mark.parametrize("url", ["memory:", "sqlite:///a.db", "sqlite:////var/lib/a.db"])
def test_a_stores_url_is_kept_as_it_is(url: str) -> None:
    assert check_store(url, "--store") == url


@pytest.mark.parametrize(
    "url", ["", "memory", "memory:x", "sqlite:", "sqlite:///", "sqlite://a.db", "a.db", "redis://"]
)
def test_what_is_no_stores_url_is_refused_by_name(url: str) -> None:
    with pytest.raises(ConfigError, match=r"--store .*give sqlite:///"):
        parse(["--store", url], {})


def test_there_is_no_default_store() -> None:
    with pytest.raises(ConfigError, match="say where to keep the data: --store"):
        parse([], {})


# ---------------------------------------------------------------- where settings come from


def test_defaults_are_loopback_and_info() -> None:
    assert parse(STORE, {}) == Config((LOOPBACK,), "memory:", "info")


def test_variables_stand_in_for_flags() -> None:
    env = {
        "SCORE_LISTEN": "127.0.0.1:1, [::1]:2",
        "SCORE_STORE": "sqlite:///a.db",
        "SCORE_LOG_LEVEL": "DEBUG",
    }
    listen = (Address("127.0.0.1", 1), Address("::1", 2))
    assert parse([], env) == Config(listen, "sqlite:///a.db", "debug")


def test_flags_come_before_variables() -> None:
    env = {"SCORE_LISTEN": "nonsense", "SCORE_STORE": "nonsense", "SCORE_LOG_LEVEL": "nonsense"}
    argv = [*STORE, "--listen", "127.0.0.1:7737", "--log-level", "error"]
    assert parse(argv, env) == Config((LOOPBACK,), "memory:", "error")


@pytest.mark.parametrize(
    ("name", "value"),
    [("SCORE_LISTEN", ""), ("SCORE_LOG_LEVEL", "loud"), ("SCORE_NO_AUTH", "maybe")],
)
def test_a_variable_that_makes_no_sense_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}"):
        parse(STORE, {name: value})


@pytest.mark.parametrize(
    "argv",
    [["--nonsense"], ["--listen"], ["positional"], ["--log-level", "loud"], ["--sto", "memory:"]],
)
def test_a_command_line_that_makes_no_sense_is_one_line_and_points_to_help(argv: list[str]) -> None:
    with pytest.raises(ConfigError, match="--help") as caught:
        parse([*STORE, *argv], {})
    assert "\n" not in str(caught.value)


def test_version_and_help_print_and_exit_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("--version", "--help"):
        with pytest.raises(SystemExit) as caught:
            parse([flag], {})
        assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith("score-server 0.1.0\n")
    for word in ("SCORE_LISTEN", "SCORE_STORE", "SCORE_NO_AUTH", "SCORE_LOG_LEVEL", "Exit status"):
        assert word in printed
