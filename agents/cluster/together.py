"""Runs several readings at once, and leaves none behind when one of them fails."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def together(*readings: Coroutine[Any, Any, T]) -> list[T]:
    """The results in the order given. The first failure is raised, after the others were cancelled and have ended:
    `asyncio.gather` would let them go on, on connections that their owner is about to close.
    """
    tasks = [asyncio.create_task(reading) for reading in readings]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
