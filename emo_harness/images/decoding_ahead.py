"""Images made ready on other threads, while the encoder is at work on those before."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")
MOST_WORKERS = 8


def decoded_ahead(
    items: Iterable[Item], prepare: Callable[[Item], Made], n_ahead: int
) -> Iterator[Made]:
    """`prepare` of every item, in order, so many items ahead of the reader.

    Decoding and scaling leave Python's lock, so threads gain what processes would, without copying
    pixels. At most `n_ahead` items are held at once.

    Args:
        prepare: called on worker threads; what it raises is raised at its item's turn, and the
            rest is not begun.
    """
    waiting: deque[Future[Made]] = deque()
    pool = ThreadPoolExecutor(n_workers())
    try:
        for item in items:
            waiting.append(pool.submit(prepare, item))
            if len(waiting) >= n_ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def n_workers() -> int:
    """As many as there are cores for this program, within reason."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        cores = os.cpu_count() or 1
    return max(1, min(cores, MOST_WORKERS))
