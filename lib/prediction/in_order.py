"""Call a function on many items in parallel threads; the results keep the order of the items."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

CORES = len(os.sched_getaffinity(0))


def in_order(function: Callable, items: Iterable, jobs: int) -> Iterator:
    """Yield what `function` returns for each item, in order, with `jobs` threads.

    Items are taken as needed, at most 2 * `jobs` + 1 ahead of their results.
    """
    if jobs == 1:
        yield from map(function, items)
        return
    waiting = deque()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
