"""Read the authors' processed files: log-mel windows, made by the original system.

{train,val,test}_dataset.h5py hold an HDF5 data set of windows, float (n, 1, n_mels, window_frames),
for each row of the annotation table (columns Songs, Quads, …) in the same folder. Its name is the
number of the row; the first row is 0. Speech needs no table.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from lib.console import say
from lib.corpora.annotation_tables import read_labels
from lib.datasets.windows import OnDisk, Windows, offsets, positions
from lib.errors import UserError
from lib.features.frame_packing import digest
from lib.plain_hdf5 import DAMAGE, open_plain


def file_name(split: str) -> str:
    """Name of the authors' file of a split."""
    return f"{split}_dataset.h5py"


def read_folder(
    folder: Path, names: Sequence[str], features: Mapping, kind: str, language: str, memory: float
) -> dict[str, Windows]:
    """Windows of the splits `names`, unchanged.

    The authors' code drew train and validation from all songs, including those of the test. Here,
    test recordings are left out of train and validation, and validation recordings out of train.

    kind : "speech" or "music", which needs a table of labels; memory : bytes of frames to hold per
    split, more stay on disk. Raises UserError when the files are not as described above.
    """
    labels = read_labels(folder, needed=kind == "music")
    files = {name: _File(folder / file_name(name), features) for name in names}
    taken: set[str] = set()
    splits = {}
    for name in sorted(names, key=("test", "val", "train").index):
        file = files[name]
        table = _table(file, labels).assign(language=language)
        # a song is identified by its name or by the content of its windows
        contents = pd.Series([file.content(row) for row in file.rows], dtype=object)
        new = ~(table["recording"].isin(taken) | contents.isin(taken))
        taken |= {*table["recording"], *contents}
        if not new.all():
            say(
                f"{file.path.name}: {(~new).sum()} of {len(new)} recordings are in the test or "
                "validation data too and are left out here"
            )
        file.rows = list(itertools.compress(file.rows, new))
        splits[name] = _windows(file, table[new].reset_index(drop=True), features, memory)
    return {name: splits[name] for name in names}


class _File:
    """One of the authors' files, open for reading; `rows` : the row numbers to read."""

    def __init__(self, path: Path, features: Mapping):
        self.path = path
        if not path.is_file():
            raise UserError(f"{path.parent} holds authors' files, but not {path.name}: add it")
        try:
            self.file = open_plain(path)
            self.rows = sorted(int(key) for key in self.file)
            if [str(row) for row in self.rows] != sorted(self.file, key=int):
                raise ValueError("row numbers with leading zeros")
        except DAMAGE as error:
            raise UserError(
                f"{path} is not a file of the authors' ({str(error)[:80]}): expected one data set "
                "of windows per row number of the annotation table"
            ) from error
        self.shape = (1, features["n_mels"], features["window_frames"])

    def content(self, row: int) -> str:
        """Digest of a row's windows; UserError if the row holds something else."""
        try:
            item = self.file[str(row)]
            windows = isinstance(item, h5py.Dataset) and item.dtype.kind == "f"
            if not windows or item.ndim != 4 or item.shape[1:] != self.shape:
                shape = getattr(item, "shape", "no data set")
                raise UserError(f"{self.path}: {row} is {shape}; expected float (n, *{self.shape})")
            return digest(item[()])
        except DAMAGE as error:
            raise UserError(f"{self.path}: {row} cannot be read ({str(error)[:80]})") from error

    def frames(self, number: int) -> np.ndarray:
        """The windows of one of `rows`, end to end : float32 (n * window_frames, n_mels)."""
        row = self.rows[number]
        try:
            windows = self.file[str(row)][()].astype(np.float32)
        except DAMAGE as error:
            raise UserError(f"{self.path} is damaged ({str(error)[:80]}): get it again") from error
        if not np.isfinite(windows).all():
            raise UserError(f"{self.path}: {row} holds numbers that are not finite")
        return np.ascontiguousarray(windows[:, 0].transpose(0, 2, 1)).reshape(-1, self.shape[1])


def _windows(file: _File, table: pd.DataFrame, features: Mapping, memory: float) -> Windows:
    """The windows of `file.rows`, end to end, as if they were the frames of recordings."""
    _, bands, length = file.shape
    hop = features["window_hop"]
    counts = np.array([len(file.file[str(row)]) for row in file.rows], np.int64)
    total = int(counts.sum())
    if not total:
        raise UserError(f"{file.path} holds no windows that are not in another split")
    in_memory = total * length * bands * 4 <= memory
    frames = np.empty((total * length if in_memory else 0, bands), np.float32)
    sha256 = hashlib.sha256(repr((bands, length, file.rows)).encode())
    apart = False
    for number, first in enumerate(offsets(counts * length)):
        part = file.frames(number)
        sha256.update(part)
        if in_memory:
            frames[first : first + len(part)] = part
        # does the second window begin inside the first?
        second = part[length : 2 * length - hop]
        apart |= len(second) > 0 and not np.allclose(second, part[hop:length], atol=1e-3)
    if not in_memory:
        frames = OnDisk(file.frames, counts * length, int(memory // (4 * bands)))
    table = table.assign(length=counts * length)
    recording, local = positions(counts, length if apart else hop)
    starts = np.arange(total) * length
    return Windows(frames, table, starts, recording, local, length, sha256.hexdigest())


def _table(file: _File, labels: pd.DataFrame | None) -> pd.DataFrame:
    """The recordings of a file: recording, group, quadrant, arousal, valence."""
    if labels is None:
        names = [f"row {row}" for row in file.rows]
        return pd.DataFrame({"recording": names, "group": "", "quadrant": ""})
    outside = [row for row in file.rows if row not in labels.index]
    if outside:
        raise UserError(
            f"{file.path} has recordings of rows {outside[:5]}, but the annotation table in "
            f"{file.path.parent} has rows 0 to {len(labels) - 1}: put there the table that the "
            "files were made with"
        )
    return labels.loc[file.rows].reset_index(drop=True)
