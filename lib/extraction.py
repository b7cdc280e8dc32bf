"""Recordings -> packed log-mel frames in a work folder: in parallel, resumable, with one writer.

A work folder holds
    inputs.json     what the work is for; work for something else is refused
    frames.bin      uint16, the packed frames of all recordings, in the order in which they came
    journal.jsonl   a line per recording: which file it was (path, bytes, modified, sha256), and
                    either where its frames are (start, length, digest) or the reason why not
A line is written after its frames, so a process that is killed leaves whole recordings only.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, as_completed, wait
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from lib import artefacts, audio, datasets
from lib.cli import native_messages_aside, say
from lib.errors import UserError
from lib.windows import Packing

BLOCK_BYTES = 64 << 20  # of sound files sent to a cluster at a time: bounds what comes back
DASK_SECONDS = 10  # to wait for a scheduler's answer
FILE = ("path", "bytes", "modified")  # what tells whether a file is the one that was extracted


def stamp(path: str) -> dict:
    """Size in bytes and time of modification (ns since 1970) of a file, -1 where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return {"bytes": -1, "modified": -1}
    return {"bytes": found.st_size, "modified": found.st_mtime_ns}


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
    max_cut : share of what a file's header promises that may be missing
    workers : threads; 0: one per core
    scheduler : address of a Dask scheduler, whose workers then do it

    Returns the journal's entries, one per recording, in the order of `recordings`: length and
    digest, or reason. Raises UserError when the scheduler cannot be reached.
    """
    waiting = [row for row in recordings.to_dict("records") if not work.has(row)]
    done = len(recordings) - len(waiting)
    if done:
        say(f"going on: {done} of {len(recordings)} recordings are extracted already")
    if waiting:
        job = partial(_extract_one, features=dict(features), max_cut=max_cut)
        with (
            native_messages_aside() as errors,
            contextlib.closing(_results(job, waiting, workers, scheduler)) as results,
            tqdm(
                results, "log-mel", len(waiting), unit=" recordings", disable=None, file=errors
            ) as bar,
        ):
            for entry, frames in bar:
                work.add(entry, frames)
    entries = pd.DataFrame([work.entries[name] for name in recordings["recording"]])
    return entries.reindex(columns=["recording", *FILE, "sha256", "reason", "length", "digest"])


class Work:
    """The work folder of a data set, made or taken up again.

    Parameters
    ----------
    folder : the work folder
    inputs : what the work is for
    overwrite : begin anew where there is unfinished work for other inputs, instead of raising
        UserError

    Use as a context.
    """

    def __init__(self, folder: Path, inputs: Mapping, bands: int, overwrite: bool = False):
        self.folder, self.bands = folder, bands
        there = artefacts.read_json(folder / "inputs.json")
        differ = artefacts.differences(there, json.loads(json.dumps(inputs))) if there else []
        if differ and overwrite:
            shutil.rmtree(folder)
        elif differ:
            raise UserError(
                f"{folder} holds the unfinished work of other settings ({'; '.join(differ)}): "
                "finish it with the line that began it, or begin anew with --overwrite"
            )
        folder.mkdir(parents=True, exist_ok=True)
        artefacts.write_json(folder / "inputs.json", inputs)
        self.frames = open(folder / "frames.bin", "a+b")
        self.journal = open(folder / "journal.jsonl", "a+b")
        self.entries: dict[str, dict] = {}
        self._take_up()

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *_) -> None:
        self.frames.close()
        self.journal.close()

    def remove(self) -> None:
        """Remove the folder: what it held stands in the data set."""
        self.__exit__()
        shutil.rmtree(self.folder)

    def has(self, row: Mapping) -> bool:
        """Whether this very file is done."""
        entry = self.entries.get(row["recording"])
        return entry is not None and all(entry[key] == row[key] for key in FILE)

    def add(self, entry: dict, frames: np.ndarray | None) -> None:
        """Append a recording: its frames first, then its line."""
        if frames is not None:
            entry["start"] = self.frames.seek(0, os.SEEK_END)
            self.frames.write(frames.data)
            self.frames.flush()
        self.journal.write((json.dumps(entry, ensure_ascii=False) + "\n").encode())
        self.journal.flush()
        self.entries[entry["recording"]] = entry

    def read(self, recording: str) -> np.ndarray:
        """The packed frames : uint16 (length, n_mels) of a recording."""
        entry = self.entries[recording]
        size = entry["length"] * self.bands * np.uint16().nbytes
        stored = os.pread(self.frames.fileno(), size, entry["start"])
        return np.frombuffer(stored, np.uint16).reshape(-1, self.bands)

    def _take_up(self) -> None:
        """Read the journal up to where it is whole; check every recording's frames."""
        self.journal.seek(0)
        whole = 0
        for line in self.journal:
            try:
                entry = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                entry = None
            if not isinstance(entry, dict):
                break
            whole += len(line)
            self.entries[entry["recording"]] = entry
        self.journal.truncate(whole)
        lost = [name for name, entry in self.entries.items() if not self._intact(entry)]
        for name in lost:  # the machine stopped before the disk had them
            del self.entries[name]

    def _intact(self, entry: dict) -> bool:
        if "digest" not in entry:
            return True
        try:
            return datasets.digest(self.read(entry["recording"])) == entry["digest"]
        except ValueError:
            return False


def _extract_one(row: Mapping, features: Mapping, max_cut: float) -> tuple[dict, np.ndarray | None]:
    """The journal's entry of a recording, and its packed frames if it has any."""
    entry = {"recording": row["recording"], **{key: row[key] for key in FILE}, "sha256": None}
    packing = Packing.of(features)
    try:
        parts = [packing.pack(f) for f in audio.stream(row["path"], features, max_cut)]
    except audio.UnusableRecording as reason:
        return entry | {"reason": str(reason)}, None
    frames = np.concatenate(parts)
    entry |= {"sha256": artefacts.file_hash(Path(row["path"])), "length": len(frames)}
    return entry | {"digest": datasets.digest(frames)}, frames


def _results(
    job: Callable, rows: list[dict], workers: int, scheduler: str | None
) -> Iterator[tuple[dict, np.ndarray | None]]:
    """What `job` returns for each row, as it comes; little waits to be written at any time."""
    if scheduler is None:
        yield from _from_threads(job, rows, workers or joblib.cpu_count())
    else:
        yield from _from_dask(job, rows, scheduler)


def _from_threads(job: Callable, rows: list[dict], workers: int) -> Iterator:
    """Decoding, resampling and FFT leave the interpreter's lock, so threads scale as processes do,
    start at once and share one copy of the libraries."""
    # the matrix library must not start threads of its own beneath these
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(workers) as pool:
        running = set()
        try:
            for row in rows:
                running.add(pool.submit(job, row))
                if len(running) > 2 * workers:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            yield from (future.result() for future in as_completed(running))
        finally:
            pool.shutdown(cancel_futures=True)  # waits for those that run


def _from_dask(job: Callable, rows: list[dict], scheduler: str) -> Iterator:
    """The same on the workers of a Dask scheduler, which sees to those that die."""
    try:
        from distributed import Client
    except ImportError as error:
        raise UserError("--scheduler needs Dask: pip install -r requirements-dask.txt") from error
    try:
        client = Client(scheduler, timeout=DASK_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise UserError(f"no Dask scheduler answers at {scheduler} ({error}): start one") from error
    with client, joblib.parallel_config("dask", client=client):
        _check_workers(client, scheduler)
        parallel = joblib.Parallel(return_as="generator_unordered")
        sizes = np.cumsum([max(row["bytes"], 0) for row in rows]) // BLOCK_BYTES
        for block in np.split(np.array(rows), np.flatnonzero(np.diff(sizes)) + 1):
            yield from parallel(joblib.delayed(job)(row) for row in block)


def _check_workers(client, scheduler: str) -> None:
    """Raise UserError when there is no worker, or one that has not the suite's code or packages."""
    if not client.ncores():
        raise UserError(f"{scheduler} has no workers: start some, in the suite's folder (README)")
    for worker, found in client.run(_versions, on_error="return").items():
        if not isinstance(found, dict):
            raise UserError(
                f"the Dask worker {worker} cannot run the suite ({found}): start it with the "
                "suite's folder on its PYTHONPATH and the packages of requirements.txt"
            )
        differ = artefacts.differences(found, _versions())
        if differ:
            say(f"note: the Dask worker {worker} has other versions: {'; '.join(differ)}")


def _versions() -> dict[str, str]:
    return {key: v for key, v in artefacts.packages().items() if key in ("librosa", "numpy")}
