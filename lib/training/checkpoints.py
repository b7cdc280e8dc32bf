"""Saved states of an unfinished training, from which the same command resumes.

    <run>/checkpoint/epoch_<n>.npz    arrays by name, and `state` (JSON); the last two epochs' files
    <run>/checkpoint/history.csv      the epochs so far, to look at

A file is written in the background, while the next epoch runs, and gets its final name when it is
complete and on the disk. The older file is read when the newer one is damaged.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tokenize import TokenError

import numpy as np
import pandas as pd

from lib.artefacts import files
from lib.console import say

KEPT = 2
DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, MemoryError)
DAMAGE += (zipfile.BadZipFile, struct.error, TokenError, zlib.error)
NAME = re.compile(r"epoch_(\d+)\.npz")


class Checkpoints:
    """The saved states of the run directory `run`."""

    def __init__(self, run: Path):
        self.folder = run / files.CHECKPOINT
        self.writer = ThreadPoolExecutor(1)
        self.pending: Future | None = None

    def kept_message(self, epochs: int) -> str:
        """A message on the last saved epoch, of at most `epochs`; "" if none is saved."""
        self.wait()
        last = max(self._states(), default=0)
        return f"epoch {last} of at most {epochs} is saved in {self.folder}" if last else ""

    def save(self, state: Mapping, arrays: Mapping[str, np.ndarray]) -> None:
        """Start to save a state, once the previous one is on the disk.

        state : has `epoch` and `history`; arrays : must not change afterwards

        Raises OSError when the previous one could not be written.
        """
        self.wait()
        self.pending = self.writer.submit(self._write, json.dumps(state), arrays)

    def wait(self) -> None:
        """Wait until every saved state is on the disk; OSError when one cannot be written."""
        if self.pending is not None:
            self.pending.result()
            self.pending = None

    def load(self) -> tuple[dict, dict[str, np.ndarray]] | None:
        """The newest complete state and its arrays, or None; prints the names of damaged files."""
        for _, path in sorted(self._states().items(), reverse=True):
            try:
                with np.load(path) as saved:  # which compares each array with its checksum
                    arrays = dict(saved)
                state = json.loads(arrays.pop("state").tobytes())
                if not isinstance(state, dict):
                    raise ValueError("its state is not a JSON object")
                return state, arrays
            except DAMAGE as error:
                say(f"{path} is damaged ({str(error)[:60]}) and is not used")
        return None

    def remove(self) -> None:
        """Remove all saved states."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, state: str, arrays: Mapping[str, np.ndarray]) -> None:
        content = json.loads(state)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"epoch_{content['epoch']:05d}.npz"
        with files.atomic(path) as partial, open(partial, "wb") as file:
            np.savez(file, state=np.frombuffer(state.encode(), np.uint8), **arrays)
            file.flush()
            os.fsync(file.fileno())
        with files.atomic(self.folder / "history.csv") as partial:
            pd.DataFrame(content["history"]).to_csv(partial, index=False)
        states = self._states()
        for epoch in sorted(states)[:-KEPT]:
            states[epoch].unlink(missing_ok=True)

    def _states(self) -> dict[int, Path]:
        """The files of saved states by epoch."""
        paths = self.folder.iterdir() if self.folder.is_dir() else ()
        names = {path: NAME.fullmatch(path.name) for path in paths}
        return {int(name[1]): path for path, name in names.items() if name}
