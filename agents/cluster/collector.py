"""Rests the cyclic garbage collector while many objects are made that hold no cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def resting_collector() -> Iterator[None]:
    """No collection inside the block, which must not await: other tasks are not to run without a collector.

    Parsing allocates so much that the collector would walk everything kept so far again and again: of the time for a
    list of 10,000 pods that was more than half.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
