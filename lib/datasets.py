"""The data set file: one HDF5 per split, log-mel frames stored once per recording.

Format (version 1)
    frames      float32 (sum of lengths, n_mels), natural-log magnitude, recordings end to end
    recordings  group of columns, one entry per recording:
                recording, language, group, quadrant (UTF-8 strings; quadrant "" for speech),
                arousal, valence (float64, NaN where unknown), length (int64, frames)
    attributes  format, version, split, corpus, language, seed, features (JSON), sha256 of the
                frames and columns
Windows are cut when read: nothing is stored twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from lib.audio import window_starts
from lib.errors import UserError
from lib.registry import PLANE, QUADRANTS

FORMAT, VERSION = "mer-frames", 1
TEXT = ("recording", "language", "group", "quadrant")
NUMBERS = ("arousal", "valence")
CHUNK_FRAMES = 1024  # 512 KiB per chunk of 128 bands: large reads, small overhead (our choice)


def file_name(split: str) -> str:
    """Name of the file of a split, as the original's without the odd suffix."""
    return f"{split}_dataset.h5"


def write(
    path: Path,
    items: Iterable[tuple[Mapping, np.ndarray]],
    features: Mapping,
    attributes: Mapping,
) -> pd.DataFrame:
    """Write a data set file recording by recording.

    Parameters
    ----------
    items : (row of the table of recordings, frames : float32 (n, n_mels))
    features : the feature settings
    attributes : split, corpus, language, seed

    Returns the table of what was written, with `length` in frames.
    """
    rows, digest = [], hashlib.sha256()
    # without a chunk cache every write reaches the disk at once: one that fails (disk full) is an
    # error here, and not a crash of the library when it flushes a closed file
    with h5py.File(path, "w", rdcc_nbytes=0) as file:
        shape = (0, features["n_mels"])
        frames = file.create_dataset(
            "frames",
            shape,
            dtype="float32",
            maxshape=(None, shape[1]),
            chunks=(CHUNK_FRAMES, shape[1]),
        )
        for row, data in items:
            data = np.ascontiguousarray(data, dtype=np.float32)
            frames.resize(len(frames) + len(data), axis=0)
            frames[len(frames) - len(data) :] = data
            digest.update(data)
            rows.append({name: row[name] for name in (*TEXT, *NUMBERS)} | {"length": len(data)})
        table = pd.DataFrame(rows, columns=[*TEXT, *NUMBERS, "length"])
        group = file.create_group("recordings")
        for name in TEXT:
            group.create_dataset(name, data=table[name].astype(object), dtype=h5py.string_dtype())
        for name in NUMBERS:
            group.create_dataset(name, data=table[name].astype("float64"))
        group.create_dataset("length", data=table["length"].astype("int64"))
        digest.update(table.to_csv(index=False).encode())
        file.attrs.update(
            {"format": FORMAT, "version": VERSION, "features": _json(features), **attributes},
            sha256=digest.hexdigest(),
        )
    return table


@dataclass(frozen=True)
class Windows:
    """The windows of one split, cut from frames in memory.

    frames    : float32 (n_frames, n_mels), natural-log magnitude
    table     : one row per recording
    starts    : int64 (n_windows,), first frame of each window within `frames`
    recording : int64 (n_windows,), row in `table`
    local     : int64 (n_windows,), first frame within the recording
    length    : frames per window
    sha256    : of the file's content
    """

    frames: np.ndarray
    table: pd.DataFrame
    starts: np.ndarray
    recording: np.ndarray
    local: np.ndarray
    length: int
    sha256: str

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, index: np.ndarray) -> np.ndarray:
        """windows : float32 (len(index), n_mels, length, 1), natural-log magnitude."""
        rows = self.starts[index][:, None] + np.arange(self.length)
        return np.ascontiguousarray(self.frames[rows].transpose(0, 2, 1))[..., None]

    def labels(self) -> dict[str, np.ndarray]:
        """Class index per window and task : int64 (n_windows,); orders as in lib.registry.TASKS."""
        quadrants = self.table["quadrant"].to_numpy()[self.recording]
        signs = np.array([PLANE[q] for q in quadrants], dtype=np.int64).reshape(-1, 2)
        index = {name: i for i, name in enumerate(QUADRANTS)}
        return {
            "quadrants": np.array([index[q] for q in quadrants], dtype=np.int64),
            "arousal": signs[:, 0],
            "valence": signs[:, 1],
        }


def read_folder(
    folder: Path, names: Iterable[str], features: Mapping, kind: str, language: str, make: str
) -> dict[str, Windows]:
    """Read the splits `names` of a data set; each file must say that it is what is asked for.

    kind : "speech" or "music"; language : "english", "mandarin" or "mix"; the rest as of `read`
    """
    return {
        name: read(
            folder / file_name(name),
            features,
            make,
            {"split": name, "corpus": kind, "language": language},
        )
        for name in names
    }


def read(path: Path, features: Mapping, make: str, expected: Mapping | None = None) -> Windows:
    """Read a data set file into memory.

    Parameters
    ----------
    features : the feature settings that the caller works with
    make : the command that makes this file, for the messages
    expected : attributes that the file must have: split, corpus, language

    Raises UserError when the file is missing, cut short, of another format or content, or was made
    with other feature settings (naming each difference).
    """
    if not path.is_file():
        raise UserError(f"no data set {path}: run first\n  {make}")
    broken = f"make it again with\n  {make} --overwrite"
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT or file.attrs.get("version") != VERSION:
                raise UserError(
                    f"{path} is not a data set of this suite (format {FORMAT} {VERSION}): {broken}"
                )
            found = {key: file.attrs.get(key) for key in expected or {}}
            if found != dict(expected or {}):
                raise UserError(
                    f"{path} holds {_told(found)}, not {_told(expected)}: name the right folder, "
                    f"or {broken}"
                )
            stored = dict(json.loads(file.attrs["features"]))
            frames = file["frames"][()]
            columns = {name: file["recordings"][name].asstr()[()] for name in TEXT}
            columns |= {name: file["recordings"][name][()] for name in (*NUMBERS, "length")}
            sha256 = str(file.attrs["sha256"])
    except PermissionError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise UserError(f"{path} is cut short or damaged ({str(error)[:80]}): {broken}") from error
    _same_features(path, stored, features, broken)
    table = pd.DataFrame(columns)
    if frames.shape[1:] != (features["n_mels"],):
        raise UserError(f"{path} holds frames of shape {frames.shape[1:]}: {broken}")
    if int(table["length"].sum()) != len(frames):
        raise UserError(
            f"{path} holds {len(frames)} frames where its recordings have "
            f"{int(table['length'].sum())}: {broken}"
        )
    length, hop = features["window_frames"], features["window_hop"]
    local = [window_starts(n, length, hop) for n in table["length"]]
    offsets = np.concatenate([[0], np.cumsum(table["length"])[:-1]]).astype(np.int64)
    recording = np.repeat(np.arange(len(table)), [len(starts) for starts in local])
    local = np.concatenate(local) if local else np.zeros(0, np.int64)
    if len(local) == 0:
        raise UserError(f"{path} holds no window of {length} frames: {broken}")
    return Windows(frames, table, local + offsets[recording], recording, local, length, sha256)


def _same_features(path: Path, stored: Mapping, wanted: Mapping, broken: str) -> None:
    differ = [
        f"{key}: {stored.get(key)} in the file, {wanted.get(key)} in the settings"
        for key in sorted({*stored, *wanted})
        if stored.get(key) != wanted.get(key)
    ]
    if differ:
        raise UserError(
            f"{path} was made with other feature settings ({'; '.join(differ)}): set them alike, "
            f"or {broken}"
        )


def _told(attributes: Mapping) -> str:
    return " ".join(str(attributes[key]) for key in ("language", "corpus", "split"))


def _json(features: Mapping) -> str:
    return json.dumps(dict(features), sort_keys=True)
