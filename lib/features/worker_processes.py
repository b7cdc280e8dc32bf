"""Worker processes: their results as they come, and an end with their parent.

This module is imported by worker processes, so it imports little.
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
    work : job -> list of results, a function of a module
    jobs : taken as they can be worked on
    workers : number of processes
    begin : prepares a process; it calls `end_with_parent`
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
            "a worker process died (was it killed for memory?): what is finished is kept; run "
            "the same line again, with fewer workers (--set dataset.workers=1)"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)  # waits for the jobs that run


def bounded(submit: Callable, jobs: Iterable, most: int) -> Iterator:
    """Results of jobs as they come, `most` submitted ahead."""
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
    """Have this worker process leave Ctrl-C to its parent, and end when that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
