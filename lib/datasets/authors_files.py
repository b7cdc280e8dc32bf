"""The authors' processed files: windows of log-mel, made by the original system.

{train,val,test}_dataset.h5py hold an HDF5 data set of windows, float (n, 1, n_mels, window_frames),
per row of the annotation table (columns Songs, Quads, …) that lies beside them; its name is the
row's number, and the first row is 0. Speech needs no table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from lib.corpora.annotation_tables import read_labels
from lib.datasets.windows import OnDisk, Windows, offsets
from lib.errors import UserError
from lib.features.frame_packing import digest
from lib.plain_hdf5 import DAMAGE, open_plain


def file_name(split: str) -> str:
    """Name of the authors' file of a split."""
    return f"{split}_dataset.h5py"


def read_folder(
    folder: Path, names: Sequence[str], features: Mapping, kind: str, language: str, memory: float
) -> dict[str, Windows]:
    """Windows of the splits `names`; they are kept as they are.

    The authors' code drew train and validation from all songs, those of the test among them:
    recordings of the test are left out of the others, and those of validation out of train.

    kind : "speech" or "music", which needs a table of labels; memory : bytes of frames to hold per
    split, more stay on disk. Raises UserError when the files are not as described above.
    """
    labels = read_labels(folder, needed=kind == "music")
    files = {}
    for name in names:
        path = folder / file_name(name)
        if not path.is_file():
            raise UserError(f"{folder} holds the authors' files, but not {path.name}: add it")
        try:
            file = open_plain(path)
            rows = sorted(int(key) for key in file)
            if [str(row) for row in rows] != sorted(file, key=int):
                raise ValueError("row numbers with leading zeros")
        except DAMAGE as error:
            raise UserError(
                f"{path} is not a file of the authors' ({str(error)[:80]}): expected one data set "
                "of windows per row number of the annotation table"
            ) from error
        files[name] = (path, file, rows)
    taken: set[str] = set()
    found = {}
    for name in sorted(names, key=("test", "val", "train").index):
        path, file, rows = files[name]
        table = _table(path, rows, labels)
        # a song is known by its name or by its very windows
        marks = [
            {about.recording, _content(path, file, row, features)}
            for about, row in zip(table.itertuples(), rows, strict=True)
        ]
        new = [not mark & taken for mark in marks]
        taken.update(*marks)
        if not all(new):
            print(
                f"{path.name}: {len(new) - sum(new)} of {len(new)} recordings are in the test or "
                "validation data too and are left out here"
            )
        rows = [row for row, is_new in zip(rows, new, strict=True) if is_new]
        table = table[new].reset_index(drop=True)
        found[name] = _windows(path, file, rows, table, features, language, memory)
    return {name: found[name] for name in names}


def _content(path: Path, file: h5py.File, row: int, features: Mapping) -> str:
    """Digest of a row's windows; UserError where it holds something else."""
    expected = (1, features["n_mels"], features["window_frames"])
    try:
        item = file[str(row)]
        windows = isinstance(item, h5py.Dataset) and item.dtype.kind == "f"
        if not windows or item.ndim != 4 or item.shape[1:] != expected:
            shape = getattr(item, "shape", "no data set")
            raise UserError(f"{path}: {row} is {shape}; expected float (n, *{expected})")
        return digest(item[()])
    except DAMAGE as error:
        raise UserError(f"{path}: {row} cannot be read ({str(error)[:80]})") from error


def _windows(
    path: Path,
    file: h5py.File,
    rows: list[int],
    table: pd.DataFrame,
    features: Mapping,
    language: str,
    memory: float,
) -> Windows:
    """The windows of the given rows of one file, end to end as if they were recordings' frames."""
    length, hop, bands = (features[k] for k in ("window_frames", "window_hop", "n_mels"))
    counts = np.array([len(file[str(row)]) for row in rows], np.int64)
    if not counts.sum():
        raise UserError(f"{path} holds no windows that are not in another split")
    table = table.assign(language=language, length=counts * length)

    def load(number: int) -> np.ndarray:
        try:
            windows = file[str(rows[number])][()].astype(np.float32)
        except DAMAGE as error:
            raise UserError(f"{path} is damaged ({str(error)[:80]}): get it again") from error
        if not np.isfinite(windows).all():
            raise UserError(f"{path}: {rows[number]} holds numbers that are not finite")
        return np.ascontiguousarray(windows[:, 0].transpose(0, 2, 1)).reshape(-1, bands)

    total, whole = int(counts.sum()), counts.sum() * length * bands * 4 <= memory
    frames = np.empty((total * length if whole else 0, bands), np.float32)
    sha256 = hashlib.sha256(repr((bands, length, rows)).encode())
    apart, first = False, 0
    for number in range(len(rows)):
        part = load(number)
        sha256.update(part)
        if whole:
            frames[first : first + len(part)] = part
        first += len(part)
        if len(part) > length:  # does the second window begin inside the first?
            shared = length - hop
            apart |= not np.allclose(part[length : length + shared], part[hop:length], atol=1e-3)
    if not whole:
        frames = OnDisk(load, table["length"].to_numpy(), int(memory // (4 * bands)))
    recording = np.repeat(np.arange(len(rows)), counts)
    local = (np.arange(total) - offsets(counts)[recording]) * (length if apart else hop)
    starts = np.arange(total) * length
    return Windows(frames, table, starts, recording, local, length, sha256.hexdigest())


def _table(path: Path, rows: list[int], labels: pd.DataFrame | None) -> pd.DataFrame:
    """The recordings of the given rows: recording, group, quadrant, arousal, valence."""
    if labels is None:
        names = [f"row {row}" for row in rows]
        return pd.DataFrame({"recording": names, "group": "", "quadrant": ""})
    outside = [row for row in rows if row not in labels.index]
    if outside:
        raise UserError(
            f"{path} has recordings of rows {outside[:5]}, but the annotation table in "
            f"{path.parent} has rows 0 to {len(labels) - 1}: put the table there that the files "
            "were made with"
        )
    return labels.loc[rows].reset_index(drop=True)
