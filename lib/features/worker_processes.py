"""Run jobs in worker processes, which end when their parent ends.

Worker processes import this module, so it imports little.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial

from lib.errors import UserError


def results(
    work: Callable, jobs: Iterable, workers: int, *, begin: Callable, preload: Sequence[str] = ()
) -> Iterator:
    """Results of jobs, in the order in which they are ready.

    Parameters
    ----------
    work : job -> list of results, a module-level function
    jobs : taken as workers become free
    workers : number of processes
    begin : prepares a process; it must call `end_with_parent`
    preload : modules that are imported once for all processes

    Raises UserError when a process dies.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    pool = ProcessPoolExecutor(workers, context, initializer=begin)
    try:
        yield from bounded(partial(pool.submit, work), jobs, 2 * workers)
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process died (was it out of memory?): what is finished is kept; run the "
            "same command again with fewer workers (--set dataset.workers=1)"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)  # waits for the jobs that run


def bounded(submit: Callable, jobs: Iterable, most: int) -> Iterator:
    """Results of jobs as they come; at most `most` jobs are submitted at a time."""
    running = set()
    for job in jobs:
        running.add(submit(job))
        if len(running) >= most:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield from future.result()
    for future in as_completed(running):
        yield from future.result()


def end_with_parent() -> None:
    """Make this worker process ignore Ctrl-C, and end when its parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
