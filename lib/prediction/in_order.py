"""Several calls at a time, in threads; their results in the order of what they were called with."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

CORES = len(os.sched_getaffinity(0))


def in_order(function: Callable, items: Iterable, jobs: int) -> Iterator:
    """What `function` returns for each item, in their order; `jobs` at a time, in threads.

    Items are taken as they are needed, at most 2 * `jobs` + 1 before their results.
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
