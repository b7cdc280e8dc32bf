"""Write and read data set files: one HDF5 per split, log-mel frames stored once per recording.

Format (version 2)
    frames      uint16 (sum of lengths, n_mels), recordings end to end, in one piece of the file;
                the natural-log magnitude is add_offset + scale_factor * stored, within 2e-4
    recordings  group of columns, one entry per recording:
                recording, language, group, quadrant (UTF-8 strings; quadrant "" for speech;
                group: speaker, or artist by lib.corpora.artists; in files made before that
                module, the artist as spelt),
                digest (XXH3-128 of the recording's stored frames, hexadecimal),
                arousal, valence (float64, NaN where unknown), length (int64, frames)
    attributes  format, version, split, corpus, language, seed, features (JSON), scale_factor,
                add_offset, sha256 of all other attributes and columns, which covers the frames too
Windows are cut when read: nothing is stored twice. What is read is checked against the hashes. The
structure of the file is checked by the checksums that HDF5 has had since 1.10. Strings have a fixed
length: the checksums do not cover those of variable length, and damaged ones can hang HDF5.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from lib.artefacts import run_record
from lib.datasets import authors_files
from lib.datasets.windows import OnDisk, Windows, offsets, positions
from lib.errors import UserError
from lib.features.frame_packing import Packing, digest
from lib.labels import LANGUAGES
from lib.plain_hdf5 import DAMAGE, fixed_text, new_plain, open_plain

FORMAT, VERSION = "mer-frames", 2
TEXT = ("recording", "language", "group", "quadrant", "digest")
NUMBERS = ("arousal", "valence")


def file_name(split: str) -> str:
    """Name of the file of a split."""
    return f"{split}_dataset.h5"


def write(
    path: Path,
    table: pd.DataFrame,
    frames: Iterable[np.ndarray],
    features: Mapping,
    attributes: Mapping,
) -> str:
    """Write a data set file recording by recording; returns its hash.

    table : the recordings, with `length` in frames and `digest`; frames : of each recording in
    turn, packed : uint16 (length, n_mels); attributes : split, corpus, language, seed
    """
    packing = Packing.of(features)
    attributes = {"format": FORMAT, "version": VERSION, **attributes}
    attributes["features"] = json.dumps(dict(features), sort_keys=True)
    attributes |= {"scale_factor": packing.step, "add_offset": packing.offset}
    columns = {name: table[name].astype(str).tolist() for name in TEXT}
    columns |= {name: table[name].to_numpy("float64") for name in NUMBERS}
    columns["length"] = table["length"].to_numpy("int64")
    sha256 = _sha256(attributes, columns)
    shape = (int(table["length"].sum()), features["n_mels"])
    size = shape[0] * shape[1] * 2 + len(table) * 1024 + 2**17
    with new_plain(path, size, groups=("recordings",)) as file:
        for name, value in {**attributes, "sha256": sha256}.items():
            file.attrs[name] = fixed_text(value) if isinstance(value, str) else value
        for name, values in columns.items():
            file[f"recordings/{name}"] = fixed_text(values) if name in TEXT else values
        target = file.create_dataset("frames", shape, dtype="uint16")
        row = 0
        for stored in frames:
            target[row : row + len(stored)] = stored
            row += len(stored)
    return sha256


def file_hash(path: Path) -> str | None:
    """The hash that is stored in a data set file; None if there is no such file."""
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
    memory: float = np.inf,
) -> dict[str, Windows]:
    """Read the splits `names` of a data set; the attributes of each file must match the arguments.

    kind : "speech" or "music"; language : "english", "mandarin" or "mix"; memory : bytes per split,
    as in `read`. The authors' processed files have no such attributes and are not checked.
    """
    path = folder / file_name(names[0])
    if not path.exists() and (folder / authors_files.file_name(names[0])).exists():
        return authors_files.read_folder(folder, names, features, kind, language, memory)
    letter = next(letter for letter, name in LANGUAGES.items() if name == language)
    make = f"python3 generate_dataset.py -d {kind[0]} -l {letter}"
    splits = {}
    for name in names:
        expected = {"language": language, "corpus": kind, "split": name}
        splits[name] = read(folder / file_name(name), features, make, expected, memory)
    tables = [windows.table.assign(split=name) for name, windows in splits.items()]
    several = pd.concat(tables).groupby("recording")["split"].nunique() > 1
    if several.any():
        raise UserError(
            f"{folder}: {several.sum()} recordings are in more than one of its files: they are "
            f"from different data sets; make them again with\n  {make} --overwrite"
        )
    return splits


def read(
    path: Path,
    features: Mapping,
    make: str,
    expected: Mapping | None = None,
    memory: float = np.inf,
) -> Windows:
    """Read a data set file.

    features : the feature settings that the caller works with
    make : the command that makes this file, for the messages
    expected : attributes that the file must have, {language, corpus, split: str}
    memory : bytes of frames to hold; a larger file is read recording by recording, as needed

    Raises UserError when the file is missing, cut short, damaged, of another format or content, or
    was made with other feature settings (naming each difference).
    """
    if not path.is_file():
        raise UserError(f"no data set {path}: run first\n  {make}")
    faults_named = partial(_faults_named, path, f"make it again with\n  {make} --overwrite")
    with faults_named():
        file = open_plain(path)
        attributes, table = _read_table(file)
        _check(attributes, features, expected or {})
        frames = _read_frames(file, table, features["n_mels"], memory, faults_named)
        length, hop = features["window_frames"], features["window_hop"]
        lengths = table["length"].to_numpy()
        recording, local = positions(((lengths - length) // hop + 1).clip(0), hop)
        if len(local) == 0:
            raise _Unfit(f"holds no window of {length} frames")
    packing = Packing(float(attributes["add_offset"]), float(attributes["scale_factor"]))
    starts, sha256 = local + offsets(lengths)[recording], attributes["sha256"]
    return Windows(frames, table, starts, recording, local, length, sha256, packing)


class _Unfit(Exception):
    """The file is not damaged, but it is not the requested one."""


@contextlib.contextmanager
def _faults_named(path: Path, advice: str) -> Iterator[None]:
    """Convert errors of a damaged or wrong file into UserError."""
    try:
        yield
    except PermissionError:
        raise
    except _Unfit as fault:
        raise UserError(f"{path} {fault}: {advice}") from fault
    except DAMAGE as error:
        raise UserError(f"{path} is cut short or damaged ({str(error)[:160]}): {advice}") from error


def _read_table(file: h5py.File) -> tuple[dict, pd.DataFrame]:
    """Attributes and recordings of a file, checked against its hash."""
    attributes = _attributes(file)
    if attributes.get("format") != FORMAT or attributes.get("version") != VERSION:
        raise _Unfit(f"is not a data set of this suite (format {FORMAT} {VERSION})")
    columns = {name: file["recordings"][name].asstr()[()].tolist() for name in TEXT}
    columns |= {name: file["recordings"][name][()] for name in (*NUMBERS, "length")}
    if attributes.get("sha256") != _sha256(attributes, columns):
        raise ValueError("its table does not match its hash")
    return attributes, pd.DataFrame(columns)


def _check(attributes: Mapping, features: Mapping, expected: Mapping) -> None:
    """Raise _Unfit when a file has another content or other feature settings."""
    content = [str(attributes.get(key)) for key in expected]
    if content != list(expected.values()):
        raise _Unfit(
            f"holds {' '.join(content)}, not {' '.join(expected.values())} (name the right folder)"
        )
    differences = run_record.differences(json.loads(attributes["features"]), features)
    if differences:
        raise _Unfit(f"was made with other feature settings ({'; '.join(differences)})")


def _read_frames(
    file: h5py.File, table: pd.DataFrame, bands: int, memory: float, faults_named: Callable
) -> np.ndarray | OnDisk:
    """The frames of a file; each recording is checked when read. In memory, the file is closed."""
    stored, lengths, digests = file["frames"], table["length"].to_numpy(), table["digest"].tolist()
    shape, first = (int(lengths.sum()), bands), offsets(lengths)
    if stored.shape != shape or stored.dtype != np.uint16:
        raise ValueError(
            f"it holds frames {stored.dtype} {stored.shape}, its recordings have uint16 {shape}"
        )
    on_disk = stored.nbytes > memory
    source = stored if on_disk else stored[()]

    def load(number: int) -> np.ndarray:
        with faults_named():
            frames = source[first[number] : first[number] + lengths[number]]
            if digest(frames) != digests[number]:
                raise ValueError(f"the frames of {table['recording'][number]} do not match")
        return frames

    if on_disk:
        return OnDisk(load, lengths, int(memory // (2 * bands)))
    for number in range(len(table)):
        load(number)
    file.close()
    return source


def _attributes(file: h5py.File) -> dict:
    values = file.attrs.items()
    return {name: v.decode() if isinstance(v, bytes) else v for name, v in values}


def _sha256(attributes: Mapping, columns: Mapping) -> str:
    """Hash of a file's table; since that has each recording's digest, it covers the whole file."""
    plain = {
        key: value.item() if isinstance(value, np.generic) else value
        for key, value in attributes.items()
        if key != "sha256"
    }
    total = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name, values in sorted(columns.items()):
        content = json.dumps(values).encode() if name in TEXT else np.asarray(values).tobytes()
        total.update(f"{name} {len(content)} ".encode() + content)
    return total.hexdigest()
