"""What the operator may say: flags first, then ``SCORE_*`` environment variables, then defaults.

Rules
-----
- Standard library only, and little of it: ``score-server --help`` answers in the time that Python
  takes to start, so nothing here may load trio, cbor2 or a store.
- Everything that can be judged without touching the machine is judged here and named with the
  flag or the variable it came from; what needs the machine (a port in use, a locked file) is found
  out by the shell.
- There is no default store: a server that silently forgets everything at its end is a trap, and a
  file in whatever folder it was started from is another.
- Limits are not options.  They are part of what clients may rely on (``wire/limits.py``).
"""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Mapping, Sequence
from typing import NamedTuple, NoReturn

from . import __version__

PORT_DEFAULT = 7737
LISTEN_DEFAULT = f"127.0.0.1:{PORT_DEFAULT}"
LOG_LEVELS = ("debug", "info", "warning", "error")
_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")

_EPILOG = """\
score-server fsck FILE checks a store offline and says what it found (score-server fsck --help).

Environment variables stand in for flags that are not given:
  SCORE_LISTEN (several separated by commas), SCORE_STORE, SCORE_NO_AUTH (1 or 0), SCORE_LOG_LEVEL.

Exit status:
  0  stopped in order, by SIGTERM or Ctrl-C; nothing that was acknowledged is lost
  1  could not start: an address or the store is not usable
  2  the command line or a variable makes no sense
  3  stopped itself because what is on the disk is unknown, or after an internal error;
     what was acknowledged is safe: look at the last line of the log, then start it again
"""


class ConfigError(ValueError):
    """The operator said something that makes no sense; the message says what to say instead."""


class Address(NamedTuple):
    """Where to listen.  *port* 0: any free one; *host* without the brackets of IPv6."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect; names other than localhost count as not."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class Config(NamedTuple):
    """One server's settings, checked."""

    listen: tuple[Address, ...]
    store: str
    log_level: str = "info"


def parse_address(text: str, source: str) -> Address:
    """``HOST:PORT``, ``[IPV6]:PORT``; *source* names the flag or variable in the error.

    Raises:
        ConfigError: *text* is neither.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        right = ":" in host
    else:
        right = ":" not in host
    if not (colon and host and right and port.isascii() and port.isdecimal()):
        raise ConfigError(f"{source} {text!r}: give HOST:PORT, e.g. {LISTEN_DEFAULT} or [::1]:0")
    if int(port) > 65535:
        raise ConfigError(f"{source} {text!r}: ports go from 0 (any free one) to 65535")
    return Address(host, int(port))


def check_store(url: str, source: str) -> str:
    """*url* itself, if it has the form of a store's URL.

    Raises:
        ConfigError: it has not.
    """
    if url == "memory:" or (url.startswith("sqlite:///") and len(url) > len("sqlite:///")):
        return url
    raise ConfigError(
        f"{source} {url!r}: give sqlite:///relative.db, sqlite:////absolute.db, "
        f"or memory: (forgets everything at the end)"
    )


def _check_exposure(addresses: Sequence[Address], *, no_auth: bool) -> None:
    for address in addresses:
        if not (no_auth or address.is_loopback):
            raise ConfigError(
                f"{address} can be reached from other machines and there is no authentication "
                f"yet: listen on a loopback address, or say --no-auth if whoever reaches "
                f"the port may read and change everything"
            )


def _choice(name: str, value: str) -> bool:
    if value.lower() in _YES:
        return True
    if value.lower() in _NO:
        return False
    raise ConfigError(f"{name}={value!r}: give 1 or 0")


class _Parser(argparse.ArgumentParser):
    """Raises instead of printing the usage and exiting: one clear line is enough."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (score-server --help lists what there is)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="score-server",
        description="Orders, keeps and broadcasts the changes of shared structures.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--listen", action="append", metavar="HOST:PORT",
        help=f"address to listen on, may be repeated; port 0 takes a free one (default {LISTEN_DEFAULT})",
    )  # fmt: skip
    parser.add_argument(
        "--store", metavar="URL",
        help="where the data is kept: sqlite:///relative.db, sqlite:////absolute.db, or memory:",
    )  # fmt: skip
    parser.add_argument(
        "--no-auth", action="store_true", default=None,
        help="allow addresses beyond loopback although there is no authentication yet",
    )  # fmt: skip
    parser.add_argument(
        "--log-level", choices=LOG_LEVELS, help="the least that is logged (default info)"
    )
    parser.add_argument("--version", action="version", version=f"score-server {__version__}")
    return parser


def parse_fsck(argv: Sequence[str]) -> str:
    """The file that *argv*, what comes behind ``fsck``, names.

    ``--help`` prints and raises ``SystemExit(0)``, as argparse does.

    Raises:
        ConfigError: with one line that says what to write instead.
    """
    parser = _Parser(
        prog="score-server fsck",
        description=(
            "Checks everything in a store, without a server and without writing: SQLite's own structures, "
            "every entry, chain and snapshot, the sessions and what they were promised."
        ),
        epilog="Exit status: 0 all is whole; 1 it is not, or cannot be looked into; 2 the command line makes no sense.",
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", help="the store's file, or its sqlite:/// URL")
    return str(parser.parse_args(argv).file).removeprefix("sqlite:///")


def parse(argv: Sequence[str], env: Mapping[str, str]) -> Config:
    """The settings that *argv* (without the program's name) and *env* amount to.

    ``--help`` and ``--version`` print and raise ``SystemExit(0)``, as argparse does.

    Raises:
        ConfigError: with one line that says what to write instead.
    """
    given = _parser().parse_args(argv)
    if given.listen is not None:
        texts, source = given.listen, "--listen"
    else:
        texts, source = env.get("SCORE_LISTEN", LISTEN_DEFAULT).split(","), "SCORE_LISTEN"
    listen = tuple(parse_address(text.strip(), source) for text in texts)
    no_auth = given.no_auth or _choice("SCORE_NO_AUTH", env.get("SCORE_NO_AUTH", ""))
    _check_exposure(listen, no_auth=no_auth)
    store, source = given.store, "--store"
    if store is None:
        store, source = env.get("SCORE_STORE", ""), "SCORE_STORE"
    if not store and source == "SCORE_STORE":
        raise ConfigError(
            "say where to keep the data: --store sqlite:///score.db, "
            "or --store memory: (forgets everything at the end)"
        )
    level = given.log_level or env.get("SCORE_LOG_LEVEL", "info").lower()
    if level not in LOG_LEVELS:
        raise ConfigError(f"SCORE_LOG_LEVEL={level!r}: give one of {', '.join(LOG_LEVELS)}")
    return Config(listen, check_store(store, source), level)
