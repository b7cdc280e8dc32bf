"""Write and read codes files: the codes of recordings by any encoder, an HDF5 with suffix .codes.

Format (version 1)
    recording_id   UTF-8 strings (r,), as `recording` in a data set's split.csv, each once
    codes          float32 (n, d), finite; per recording n = r; per window the rows of a recording
                   are consecutive
    offsets        per window: int64 (r + 1,); recording i has the rows offsets[i] to
                   offsets[i + 1] - 1, at least one
    start_seconds  per window: float32 (n,), where in its recording a window starts
    attributes     format, version, name (a-z, 0-9 and _: the model in runs and tables), title (in
                   tables), encoder_version, licence, description (what made the codes), per
                   ("recording" or "window"), digest (XXH3-128 of ids, offsets, starts and codes)
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import xxhash

from lib.artefacts import files
from lib.datasets.unfinished_codes import UnfinishedCodes
from lib.errors import UserError
from lib.labels import CODES
from lib.models import catalogue
from lib.plain_hdf5 import DAMAGE, fixed_text, new_plain, open_plain

FORMAT, VERSION = "codes", 1
PER = ("recording", "window")
LONGEST = 10_000  # characters of a text in the attributes; the limit of HDF5 is 64 kB
BLOCK = 1 << 14  # rows hashed at a time


@dataclass(frozen=True)
class About:
    """The description of the codes in a file; UserError if a part of it is not valid."""

    name: str  # of the model, in runs and tables
    title: str  # in tables and figures
    encoder_version: str
    licence: str
    description: str  # what made the codes
    per: str  # "recording" or "window"

    def __post_init__(self):
        for field in fields(self):
            text = getattr(self, field.name)
            if not isinstance(text, str) or not 0 < len(text) <= LONGEST:
                raise UserError(
                    f"the {field.name} of the codes is {str(text)[:40]!r}: expected a text of 1 to "
                    f"{LONGEST} characters"
                )
        if not re.fullmatch("[a-z0-9_]{1,60}", self.name) or self.name in catalogue.names():
            raise UserError(
                f"the name of the codes is {self.name!a}: expected up to 60 of a-z, 0-9 and _, and "
                f"no name of -mod ({', '.join(catalogue.names())})"
            )
        if len(self.title) > 60 or not self.title.isprintable() or set("|<>`*") & set(self.title):
            raise UserError(
                f"the title of the codes is {self.title!a}: expected a line of up to 60 "
                "characters without | < > ` *"
            )
        if self.per not in PER:
            raise UserError(f"the codes are per {self.per!a}: expected {' or '.join(PER)}")


@dataclass(frozen=True)
class Codes:
    """The content of a codes file.

    recordings    : their ids
    codes         : float32 (n, d)
    offsets       : int64 (r + 1,); recording i has the rows offsets[i] to offsets[i + 1] - 1
    start_seconds : float32 (n,), where in its recording a row starts; 0 per recording
    digest        : of all these
    """

    about: About
    recordings: list[str]
    codes: np.ndarray
    offsets: np.ndarray
    start_seconds: np.ndarray
    digest: str

    @property
    def counts(self) -> np.ndarray:
        """Rows of each recording : int64 (r,)."""
        return np.diff(self.offsets)


class CodesOf(NamedTuple):
    """The codes of a recording : float32 (n, d), of windows that start at start_seconds : (n,).
    For codes per recording, n = 1 and start_seconds is None."""

    recording: str
    codes: np.ndarray
    start_seconds: np.ndarray | None = None


def write(
    path: Path,
    about: About,
    recordings: Sequence[str],
    make: Callable[[list[str]], Iterable[CodesOf]],
    *,
    overwrite: bool = False,
) -> None:
    """Write a codes file, whole or not at all; it replaces the file at `path`.

    recordings : the ids, in the order of the file
    make       : gives the codes of the recordings that it is called with, in any order; recordings
                 that it leaves out are not in the file
    overwrite  : remove finished recordings of other codes in <path>.partial

    Recordings are kept in <path>.partial as they come. After a kill or an error the same call
    resumes: `make` is called only with the other recordings, and the resulting file is the same.

    Raises UserError when codes differ in shape from those before or are not finite, when there are
    no codes, and when <path>.partial has recordings of other codes.
    """
    if path.suffix != CODES:
        raise UserError(f"{path} is to be a codes file: expected a name that ends with {CODES}")
    _check_ids(recordings)
    folder = path.with_name(f"{path.name}.partial")
    with files.locked(folder):
        parts = UnfinishedCodes(folder, asdict(about), overwrite)
        left = [recording for recording in recordings if recording not in parts.rows]
        for made in make(left) if left else ():
            parts.add(made.recording, *_checked(made, about, parts.width))
        kept = [recording for recording in recordings if recording in parts.rows]
        if not kept:
            raise UserError(f"no codes were made of any of {len(recordings)} recordings")
        with files.atomic(path) as partial:
            _write_whole(partial, about, kept, parts)
        shutil.rmtree(folder)


def read(path: Path) -> Codes:
    """Read a codes file, all of it into memory.

    Raises UserError when it is missing, damaged, of another format or version, or does not have
    the content that the docstring of this module describes.
    """
    if not path.is_file():
        raise UserError(f"no codes file {path}: make it with embed.py, or name another")
    try:
        with open_plain(path) as file:
            return _read(file)
    except PermissionError:
        raise
    except _Unfit as fault:
        raise UserError(f"{path} {fault}: make it again (docs/encoders.md)") from fault
    except DAMAGE as error:
        raise UserError(
            f"{path} is cut short, damaged or not a codes file ({str(error)[:160]}): make it again "
            "(docs/encoders.md)"
        ) from error


class _Unfit(Exception):
    """The file is not damaged, but its content is not that of a codes file."""


def _checked(made: CodesOf, about: About, width: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Codes and starts as they are stored; UserError if they do not fit the format."""
    codes = np.ascontiguousarray(made.codes, np.float32)
    starts = np.zeros(len(codes)) if made.start_seconds is None else made.start_seconds
    starts = np.ascontiguousarray(starts, np.float32)
    rows = "1" if about.per == "recording" else "n"
    fault = None
    if codes.ndim != 2 or 0 in codes.shape or (rows == "1" and len(codes) != 1):
        fault = f"codes of shape {codes.shape}, expected ({rows}, d) per {about.per}"
    elif width not in (None, codes.shape[1]):
        fault = f"{codes.shape[1]} values per code, the recordings before it have {width}"
    elif (rows == "1") != (made.start_seconds is None):
        fault = f"start_seconds belong to codes per window, and these are per {about.per}"
    elif starts.shape != codes.shape[:1]:
        fault = f"start_seconds of shape {starts.shape} for {len(codes)} codes"
    elif not np.isfinite(codes).all() or not np.isfinite(starts).all():
        fault = "its codes are not finite"
    if fault:
        raise UserError(f"{made.recording}: {fault}; correct what makes its codes")
    return codes, starts


def _write_whole(path: Path, about: About, recordings: list[str], parts: UnfinishedCodes) -> None:
    """Write the file recording by recording."""
    rows = [parts.rows[recording] for recording in recordings]
    offsets = np.cumsum([0, *(end - first for first, end in rows)], dtype=np.int64)
    starts = parts.start_seconds()
    starts = np.concatenate([starts[first:end] for first, end in rows])
    ids = fixed_text(recordings)
    source, shape = parts.codes(), (int(offsets[-1]), parts.width)
    size = 4 * shape[0] * shape[1] + starts.nbytes + offsets.nbytes + ids.nbytes + 2**17
    with new_plain(path, size) as file:
        target = file.create_dataset("codes", shape, np.float32)
        for row, (first, end) in zip(offsets, rows, strict=False):
            target[row : row + end - first] = source[first:end]
        file["recording_id"] = ids
        if about.per == "window":
            file["offsets"], file["start_seconds"] = offsets, starts
        texts = asdict(about) | {"format": FORMAT}
        texts["digest"] = _digest(recordings, offsets, starts, target)
        for name, text in sorted(texts.items()):
            file.attrs[name] = fixed_text(text)
        file.attrs["version"] = VERSION


def _read(file: h5py.File) -> Codes:
    """The content of an open file, checked."""
    if _text(file, "format") != FORMAT or file.attrs.get("version") != VERSION:
        raise _Unfit(f"is not a codes file of format {FORMAT!r}, version {VERSION}")
    try:
        about = About(**{field.name: _text(file, field.name) for field in fields(About)})
        recordings = file["recording_id"].asstr()[()].tolist()
        _check_ids(recordings)
    except UserError as error:
        raise _Unfit(f"is not valid, {error}") from error
    values = _array(file, "codes", np.float32)
    if values.ndim != 2 or 0 in values.shape:
        raise _Unfit(f"holds codes of shape {values.shape}, not (n, d)")
    if about.per == "window":
        offsets = _array(file, "offsets", np.int64)
        starts = _array(file, "start_seconds", np.float32)
    else:
        offsets = np.arange(len(recordings) + 1, dtype=np.int64)
        starts = np.zeros(len(recordings), np.float32)
    whole = offsets.shape == (len(recordings) + 1,) and (offsets[0], offsets[-1]) == (
        0,
        len(values),
    )
    if not whole or (np.diff(offsets) < 1).any() or starts.shape != (len(values),):
        raise _Unfit(
            f"has {len(values)} codes per {about.per} of {len(recordings)} recordings, with "
            f"offsets {offsets.shape} and start_seconds {starts.shape} that do not divide them"
        )
    broken = np.flatnonzero(~(np.isfinite(values).all(axis=1) & np.isfinite(starts)))
    if len(broken):
        number = int(np.searchsorted(offsets, broken[0], "right")) - 1
        raise _Unfit(
            f"holds NaN or infinite numbers in {len(broken)} of {len(values)} rows, the first of "
            f"{recordings[number]!a}"
        )
    digest = _digest(recordings, offsets, starts, values)
    if _text(file, "digest") != digest:
        raise ValueError("its content does not match its digest")
    return Codes(about, recordings, values, offsets, starts, digest)


def _check_ids(recordings: Sequence[str]) -> None:
    """Raise UserError if a recording has no id, or occurs twice."""
    known = set()
    for recording in recordings:
        if not isinstance(recording, str) or not recording or recording in known:
            what = "occurs twice" if recording in known else "is not a name"
            raise UserError(f"recording_id {recording!a} {what}: expected each recording once")
        known.add(recording)


def _text(file: h5py.File, name: str) -> str:
    value = file.attrs.get(name, "")
    return value.decode() if isinstance(value, bytes) else str(value)


def _array(file: h5py.File, name: str, dtype: type) -> np.ndarray:
    stored = file[name]
    if stored.dtype != dtype:
        raise _Unfit(f"holds {name} as {stored.dtype}, not {np.dtype(dtype)}")
    return np.asarray(stored[()])


def _digest(
    recordings: list[str], offsets: np.ndarray, starts: np.ndarray, codes: np.ndarray | h5py.Dataset
) -> str:
    """XXH3-128 of a file's content; starts are 0 per recording."""
    total = xxhash.xxh3_128(json.dumps(recordings).encode())
    for values in (offsets, starts):
        total.update(np.ascontiguousarray(values))
    for row in range(0, len(codes), BLOCK):
        total.update(np.ascontiguousarray(codes[row : row + BLOCK]))
    return total.hexdigest()
