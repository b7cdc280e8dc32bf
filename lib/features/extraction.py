"""Extract packed log-mel frames of recordings into a work folder, in parallel and resumable.

A work folder holds inputs.json, which says what the work is for (other work is refused), and the
shards of the processes that extract (lib.features.extraction_shards). One process then writes the
data set's files from it, in an order that does not depend on which process extracted what.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO

import joblib
import numpy as np
import pandas as pd
from tqdm import tqdm

from lib.artefacts import files, run_record
from lib.console import native_messages_aside, say
from lib.errors import UserError
from lib.features import extraction_shards, worker_processes
from lib.features.extraction_shards import FILE, Shard
from lib.features.frame_packing import digest

JOB_BYTES = 1 << 20  # of sound files given to a worker at a time: few messages, much work
WORKER_BYTES = 32 << 20  # of sound files per process: starting a process takes half a second
CLUSTER_BYTES = 64 << 20  # of sound files sent to a cluster at a time: limits what comes back
DASK_SECONDS = 10  # to wait for a scheduler's answer


def extract(
    recordings: pd.DataFrame,
    features: Mapping,
    max_cut: float,
    work: Work,
    workers: int = 0,
    scheduler: str | None = None,
) -> pd.DataFrame:
    """Extract all recordings that the work folder does not hold yet.

    Parameters
    ----------
    recordings : recording, path, bytes, modified
    max_cut : share of the length that a file's header promises that may be missing
    workers : processes; 0: one per core, fewer for little work; 1: only this process
    scheduler : address of a Dask scheduler, whose workers extract

    Returns the entries of the journals, one per recording, in the order of `recordings`: length and
    digest, or reason. Raises UserError when the scheduler cannot be reached, or workers die.
    """
    waiting = [row for row in recordings.to_dict("records") if not work.has(row)]
    if len(waiting) < len(recordings):
        done = len(recordings) - len(waiting)
        say(f"resuming: {done} of {len(recordings)} recordings are extracted already")
    if waiting:
        extractor = partial(extraction_shards.extract_one, features=dict(features), max_cut=max_cut)
        workers = workers or min(joblib.cpu_count(), 1 + sum(map(_size, waiting)) // WORKER_BYTES)
        if scheduler is not None:
            results = _on_dask(waiting, extractor, work.folder, scheduler=scheduler)
        elif workers > 1:
            results = _in_processes(waiting, extractor, work.folder, workers=workers)
        else:
            results = _here(waiting, extractor, work.folder)
        with (
            native_messages_aside() as errors,
            contextlib.closing(results),
            tqdm(
                results, "log-mel", len(waiting), unit=" recordings", disable=None, file=errors
            ) as entries,
        ):
            work.entries.update((entry["recording"], entry) for entry in entries)
    table = pd.DataFrame([work.entries[name] for name in recordings["recording"]])
    return table.reindex(columns=["recording", *FILE, "sha256", "reason", "length", "digest"])


class Work(contextlib.ExitStack):
    """The work folder of a data set, new or resumed. Use it as a context manager.

    inputs : what the work is for; bands : mel bands of a frame

    Raises UserError when the folder holds unfinished work for other inputs, unless `overwrite`
    removes that.
    """

    def __init__(self, folder: Path, inputs: Mapping, bands: int, overwrite: bool = False):
        super().__init__()
        self.folder, self.bands = folder, bands
        advice = f"remove {folder}, its recordings are then extracted again"
        before = files.read_json(folder / "inputs.json", advice)
        differ = run_record.differences(before, json.loads(json.dumps(inputs))) if before else []
        if differ and overwrite:
            shutil.rmtree(folder)
        elif differ:
            raise UserError(
                f"{folder} holds the unfinished work of other settings ({'; '.join(differ)}): "
                "finish it with the command that began it, or start again with --overwrite"
            )
        folder.mkdir(parents=True, exist_ok=True)
        files.write_json(folder / "inputs.json", inputs)
        self.files: dict[str, BinaryIO] = {}
        # frames that do not match were lost: the machine stopped before they were on disk
        intact = filter(self._is_intact, extraction_shards.entries(folder))
        self.entries = {entry["recording"]: entry for entry in intact}

    def has(self, row: Mapping) -> bool:
        """Whether exactly this file is done."""
        entry = self.entries.get(row["recording"])
        return entry is not None and all(entry[key] == row[key] for key in FILE)

    def frames(self, recording: str) -> np.ndarray:
        """The packed frames : uint16 (length, n_mels) of a recording."""
        return self._read(self.entries[recording])

    def _read(self, entry: Mapping) -> np.ndarray:
        name = entry["shard"]
        if name not in self.files:
            self.files[name] = self.enter_context(open(self.folder / f"{name}.frames", "rb"))
        stored = os.pread(self.files[name].fileno(), self._bytes(entry), entry["start"])
        return np.frombuffer(stored, np.uint16).reshape(-1, self.bands)

    def _bytes(self, entry: Mapping) -> int:
        return entry["length"] * self.bands * np.uint16().nbytes

    def _is_intact(self, entry: Mapping) -> bool:
        """Whether the frames are there as the entry says. A recording without frames is not intact:
        it is tried again."""
        try:
            known = isinstance(entry["recording"], str) and all(key in entry for key in FILE)
            # check the size first: an impossible one must not be read
            held = os.stat(self.folder / f"{entry['shard']}.frames").st_size
            whole = 0 <= entry["start"] < entry["start"] + self._bytes(entry) <= held
            return known and whole and digest(self._read(entry)) == entry["digest"]
        except (OSError, ValueError, KeyError, TypeError):
            return False


def _here(rows: list[dict], extractor: Callable, folder: Path) -> Iterator[dict]:
    """Entries of the recordings, extracted by this process."""
    extraction_shards.keep_memory()
    with contextlib.closing(Shard(folder)) as shard:
        for row in rows:
            yield shard.add(*extractor(row))


def _in_processes(
    rows: list[dict], extractor: Callable, folder: Path, workers: int
) -> Iterator[dict]:
    """Entries of the recordings, extracted by worker processes, each with its shard."""
    return worker_processes.results(
        extraction_shards.work,
        _jobs(rows),
        workers,
        begin=partial(extraction_shards.begin_worker, folder, extractor),
        preload=[extraction_shards.__name__],
    )


def _jobs(rows: Iterable[dict], size: int = JOB_BYTES) -> Iterator[list[dict]]:
    """The rows, in lists of about `size` bytes of sound files."""
    job, total = [], 0
    for row in rows:
        job.append(row)
        total += _size(row)
        if total >= size:
            yield job
            job, total = [], 0
    if job:
        yield job


def _size(row: Mapping) -> int:
    return max(row["bytes"], 0)  # -1: there is no file


def _on_dask(rows: list[dict], extractor: Callable, folder: Path, scheduler: str) -> Iterator[dict]:
    """Entries of the recordings, extracted by the workers of a Dask scheduler.

    Workers send the frames, and this process writes them: no shared disk is needed. The scheduler
    replaces workers that die.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise UserError("--scheduler needs Dask: pip install -r requirements/dask.txt") from error
    try:
        client = Client(scheduler, timeout=DASK_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise UserError(f"no Dask scheduler answers at {scheduler} ({error}): start one") from error
    with (
        client,
        joblib.parallel_config("dask", client=client),
        contextlib.closing(Shard(folder)) as shard,
    ):
        _check_workers(client, scheduler)
        parallel = joblib.Parallel(return_as="generator_unordered")
        for job in _jobs(rows, CLUSTER_BYTES):
            for entry, frames in parallel(map(joblib.delayed(extractor), job)):
                yield shard.add(entry, frames)


def _check_workers(client, scheduler: str) -> None:
    """Raise UserError when there is no worker, or one lacks the suite's code or packages."""
    if not client.ncores():
        raise UserError(f"{scheduler} has no workers: start some, in the suite's folder (README)")
    for worker, versions in client.run(_versions, on_error="return").items():
        if not isinstance(versions, dict):
            raise UserError(
                f"the Dask worker {worker} cannot run the suite ({versions}): start it with the "
                "suite's folder on its PYTHONPATH and the packages of requirements.txt"
            )
        if differ := run_record.differences(versions, _versions()):
            say(f"note: the Dask worker {worker} has other versions: {'; '.join(differ)}")


def _versions() -> dict[str, str]:
    return {key: v for key, v in run_record.packages().items() if key in ("librosa", "numpy")}
