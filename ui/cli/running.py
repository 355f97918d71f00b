"""Runs a command's coroutine so that SIGTERM ends it like Ctrl-C does: what it opened is closed, and no process stays
behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from assistant.telemetry import configure_logging

ResultT = TypeVar("ResultT")


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived; the coroutine was cancelled and has cleaned up."""


def run_async(coroutine: Coroutine[Any, Any, ResultT]) -> ResultT:
    """The coroutine's result. Raises KeyboardInterrupt after Ctrl-C and `Terminated` after SIGTERM, both once it is
    cleaned up.
    """
    # before anything can be logged: unconfigured, structlog prints to standard output, with the values of variables
    configure_logging("error")
    return asyncio.run(_guarded(coroutine))


async def _guarded(coroutine: Coroutine[Any, Any, ResultT]) -> ResultT:
    task = asyncio.ensure_future(coroutine)
    terminated = False

    def terminate() -> None:
        nonlocal terminated
        terminated = True
        task.cancel()

    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError, ValueError):  # not the main thread, or no signals on this platform
        loop.add_signal_handler(signal.SIGTERM, terminate)
    try:
        return await task
    except asyncio.CancelledError:
        if terminated:
            raise Terminated from None
        raise
