"""The data set file: one HDF5 per split, log-mel frames stored once per recording.

Format (version 2)
    frames      uint16 (sum of lengths, n_mels), recordings end to end, in one piece of the file;
                the natural-log magnitude is add_offset + scale_factor * stored, within 2e-4
    recordings  group of columns, one entry per recording:
                recording, language, group, quadrant (UTF-8 strings; quadrant "" for speech),
                digest (XXH3-128 of the recording's stored frames, hexadecimal),
                arousal, valence (float64, NaN where unknown), length (int64, frames)
    attributes  format, version, split, corpus, language, seed, features (JSON), scale_factor,
                add_offset, sha256 of all other attributes and columns, and so of the frames
Windows are cut when read: nothing is stored twice. What is read is checked against the hashes, and
the file's structure by the checksums that HDF5 has had for it since 1.10; strings are of fixed
length, since those of variable length lie where it has none (damaged, they can hang the library).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from lib.datasets import authors_files
from lib.datasets.windows import OnDisk, Windows, offsets
from lib.errors import UserError
from lib.features.frame_packing import Packing, digest
from lib.plain_hdf5 import DAMAGE, open_plain

FORMAT, VERSION = "mer-frames", 2
TEXT = ("recording", "language", "group", "quadrant", "digest")
NUMBERS = ("arousal", "valence")


def file_name(split: str) -> str:
    """Name of the file of a split, as the original's without the odd suffix."""
    return f"{split}_dataset.h5"


def write(
    path: Path,
    table: pd.DataFrame,
    frames: Iterable[np.ndarray],
    features: Mapping,
    attributes: Mapping,
) -> str:
    """Write a data set file recording by recording; returns its hash.

    Parameters
    ----------
    table : the recordings, with `length` in frames and `digest`
    frames : of each recording in turn, packed : uint16 (length, n_mels)
    features : the feature settings
    attributes : split, corpus, language, seed
    """
    packing = Packing.of(features)
    attributes = {
        "format": FORMAT,
        "version": VERSION,
        **attributes,
        "features": json.dumps(dict(features), sort_keys=True),
        "scale_factor": packing.step,
        "add_offset": packing.offset,
    }
    columns = {name: table[name].astype(str).tolist() for name in TEXT}
    columns |= {name: table[name].to_numpy("float64") for name in NUMBERS}
    columns["length"] = table["length"].to_numpy("int64")
    _check_room(path, sum(table["length"]) * features["n_mels"] * 2 + len(table) * 1024 + 2**17)
    sha256 = _sha256(attributes, columns)
    with _new_file(path) as file:
        for name, value in {**attributes, "sha256": sha256}.items():
            file.attrs[name] = _fixed(value) if isinstance(value, str) else value
        for name, values in columns.items():
            file[f"recordings/{name}"] = _fixed(values) if name in TEXT else values
        shape = (int(table["length"].sum()), features["n_mels"])
        target = file.create_dataset("frames", shape, dtype="uint16")
        row = 0
        for stored in frames:
            target[row : row + len(stored)] = stored
            row += len(stored)
    return sha256


def file_hash(path: Path) -> str | None:
    """The hash that a data set file says it has, None where there is no such file."""
    try:
        with open_plain(path) as file:
            return _attributes(file)["sha256"]
    except DAMAGE:
        return None


def read_folder(
    folder: Path,
    names: Sequence[str],
    features: Mapping,
    kind: str,
    language: str,
    make: str,
    memory: float = np.inf,
) -> dict[str, Windows]:
    """Read the splits `names` of a data set; each file must say that it is what is asked for.

    kind : "speech" or "music"; language : "english", "mandarin" or "mix"; memory : bytes of frames
    to hold per split, more stay on disk; the rest as of `read`. The authors' processed files do not
    say what they are and are taken for it.
    """
    if (
        not (folder / file_name(names[0])).exists()
        and (folder / authors_files.file_name(names[0])).exists()
    ):
        return authors_files.read_folder(folder, names, features, kind, language, memory)
    found = {
        name: read(
            folder / file_name(name),
            features,
            make,
            {"split": name, "corpus": kind, "language": language},
            memory,
        )
        for name in names
    }
    tables = [windows.table.assign(split=name) for name, windows in found.items()]
    both = pd.concat(tables).groupby("recording")["split"].nunique()
    if (both > 1).any():
        raise UserError(
            f"{folder}: {(both > 1).sum()} recordings are in more than one of its files, which are "
            f"of different data sets: make them again with\n  {make} --overwrite"
        )
    return found


def read(
    path: Path,
    features: Mapping,
    make: str,
    expected: Mapping | None = None,
    memory: float = np.inf,
) -> Windows:
    """Read a data set file.

    Parameters
    ----------
    features : the feature settings that the caller works with
    make : the command that makes this file, for the messages
    expected : attributes that the file must have: split, corpus, language
    memory : bytes of frames to hold; a larger file is read by recording, when it is needed

    Raises UserError when the file is missing, cut short, damaged, of another format or content, or
    was made with other feature settings (naming each difference).
    """
    if not path.is_file():
        raise UserError(f"no data set {path}: run first\n  {make}")
    broken = f"make it again with\n  {make} --overwrite"
    damaged = f"{path} is cut short or damaged"
    try:
        file = open_plain(path)
        attributes = _attributes(file)
        if attributes.get("format") != FORMAT or attributes.get("version") != VERSION:
            raise UserError(
                f"{path} is not a data set of this suite (format {FORMAT} {VERSION}): {broken}"
            )
        columns = {name: file["recordings"][name].asstr()[()].tolist() for name in TEXT}
        columns |= {name: file["recordings"][name][()] for name in (*NUMBERS, "length")}
        sha256 = attributes.pop("sha256", None)
        if sha256 != _sha256(attributes, columns):
            raise UserError(f"{damaged} (its table does not match its hash): {broken}")
        found = {key: attributes.get(key) for key in expected or {}}
        if found != dict(expected or {}):
            raise UserError(
                f"{path} holds {_told(found)}, not {_told(expected)}: name the right folder, "
                f"or {broken}"
            )
        _same_features(path, json.loads(attributes["features"]), features, broken)
        table, stored = pd.DataFrame(columns), file["frames"]
        shape = (int(table["length"].sum()), features["n_mels"])
        if stored.shape != shape or stored.dtype != np.uint16:
            raise UserError(
                f"{damaged}: holds frames {stored.dtype} {stored.shape} where its recordings have "
                f"uint16 {shape}: {broken}"
            )
        first = offsets(table["length"])

        def checked(number: int, frames: np.ndarray) -> np.ndarray:
            if digest(frames) != columns["digest"][number]:
                name = columns["recording"][number]
                raise UserError(f"{damaged} (the frames of {name} do not match): {broken}")
            return frames

        def load(number: int) -> np.ndarray:
            start, length = first[number], table["length"][number]
            try:
                return checked(number, stored[start : start + length])
            except DAMAGE as error:
                raise UserError(f"{damaged} ({str(error)[:80]}): {broken}") from error

        if stored.nbytes > memory:
            frames = OnDisk(load, table["length"].to_numpy(), int(memory // (2 * shape[1])))
        else:
            frames = stored[()]
            for number, length in enumerate(table["length"]):
                checked(number, frames[first[number] : first[number] + length])
            file.close()
    except PermissionError:
        raise
    except DAMAGE as error:
        raise UserError(f"{damaged} ({str(error)[:80]}): {broken}") from error
    length, hop = features["window_frames"], features["window_hop"]
    counts = ((table["length"].to_numpy() - length) // hop + 1).clip(0)
    recording = np.repeat(np.arange(len(table)), counts)
    local = (np.arange(len(recording)) - offsets(counts)[recording]) * hop
    if len(local) == 0:
        raise UserError(f"{path} holds no window of {length} frames: {broken}")
    packing = Packing(float(attributes["add_offset"]), float(attributes["scale_factor"]))
    starts = local + first[recording]
    return Windows(frames, table, starts, recording, local, length, sha256, packing)


def _new_file(path: Path) -> h5py.File:
    """A file of the layout of HDF5 1.10, with the group of the columns. No times are stored: the
    same data give the same bytes."""
    kinds = (h5py.h5p.FILE_CREATE, h5py.h5p.FILE_ACCESS, h5py.h5p.GROUP_CREATE)
    layout, access, group = map(h5py.h5p.create, kinds)
    layout.set_obj_track_times(False)
    group.set_obj_track_times(False)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    file = h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_TRUNC, layout, access)
    h5py.h5g.create(file, b"recordings", gcpl=group)
    return h5py.File(file)


def _fixed(text: str | list[str]) -> np.ndarray:
    """Text as HDF5 strings of a fixed length, UTF-8."""
    stored = np.char.encode(text, "utf-8")
    return stored.astype(h5py.string_dtype("utf-8", max(1, stored.itemsize)))


def _attributes(file: h5py.File) -> dict:
    found = dict(file.attrs)
    return {name: v.decode() if isinstance(v, bytes) else v for name, v in found.items()}


def _check_room(path: Path, size: int) -> None:
    """Raise OSError when there is no room for so many bytes: HDF5 crashes on a full disk."""
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)


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


def _sha256(attributes: Mapping, columns: Mapping) -> str:
    """Hash of a file's table; with each recording's digest in it, of all that the file holds."""
    plain = {
        key: getattr(value, "item", lambda value=value: value)()
        for key, value in attributes.items()
    }
    total = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name, values in sorted(columns.items()):
        content = json.dumps(values).encode() if name in TEXT else np.asarray(values).tobytes()
        total.update(f"{name} {len(content)} ".encode() + content)
    return total.hexdigest()


def _told(attributes: Mapping) -> str:
    return " ".join(str(attributes[key]) for key in ("language", "corpus", "split"))
