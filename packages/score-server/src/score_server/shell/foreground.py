"""A server as a process: signals, the first line of the log, the exit status."""

from __future__ import annotations

import gc
import resource
import signal
from collections.abc import AsyncIterator

import trio

from .. import __version__
from ..config import Config
from ..stores import open_store
from ..stores.base import StoreError
from ..wire.limits import Limits
from .committer import Committer, open_committer
from .listening import StartError
from .log import logger
from .server import Server

__all__ = ["StartError", "run"]

# Besides connections: the store's files, listeners, standard streams, trio's own.
OTHER_FILES_MAX = 64


def run(config: Config) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status (``score-server --help``).

    A second signal cuts the goodbyes short.

    Raises:
        StartError: an address or the store is not usable.
    """
    try:
        committer = open_committer(open_store, config.store)
    except (StoreError, OSError) as error:
        raise StartError(str(error)) from error
    gc.freeze()  # what was loaded stays as long as the process: no need to look at it again
    try:
        _allow_open_files(Limits().connections_max + OTHER_FILES_MAX)
        failure = trio.run(_serve, config, committer)
    except StartError:
        raise
    except Exception as error:
        logger.critical("stopping at once, internal error", exc_info=error)
        failure = error
    finally:
        committer.close()
    if failure is not None:
        return 3
    logger.info("stopped")
    return 0


async def _serve(config: Config, committer: Committer) -> Exception | None:
    server = Server(committer)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        urls = ", ".join(await server.listen(config.listen))
        logger.info("score-server %s listening on %s, store %s", __version__, urls, config.store)
        if not all(address.is_loopback for address in config.listen):
            logger.warning("no authentication: whoever reaches the port may change everything")
        return await _serve_until_told(server, signals)


async def _serve_until_told(server: Server, signals: AsyncIterator[int]) -> Exception | None:
    failure = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_obey, signals, server.stop, nursery.cancel_scope)
        failure = await server.serve()
        nursery.cancel_scope.cancel()
    return failure


async def _obey(
    signals: AsyncIterator[int], stop: trio.Event, everything: trio.CancelScope
) -> None:
    number = await anext(signals)
    logger.info("received %s", signal.Signals(number).name)
    stop.set()
    await anext(signals)
    logger.warning("received another signal, stopping without goodbyes")
    everything.cancel()


def _allow_open_files(count: int) -> None:
    """Raise the soft limit as far as needed and allowed; many systems start with 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
