"""Read codes from files, to use instead of the codes of a frozen encoder.

A row of codes takes the place of a window. With several files, the codes of a recording are joined
end to end, one row per recording: codes per window are reduced to their mean and standard
deviation, since windows of different encoders need not cover the same stretches of sound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from lib.console import say
from lib.datasets import codes_file
from lib.datasets.codes_file import Codes
from lib.datasets.windows import Windows, positions
from lib.errors import UserError


@dataclass(frozen=True)
class CodeRows(Windows):
    """The codes of one split, as windows of one frame; `frames`, float32 (n, d), are the codes.

    seconds : float32 (n,), where in its recording each of `frames` starts
    """

    seconds: np.ndarray | None = None

    def take(self, index: np.ndarray, shift: np.ndarray | int = 0) -> np.ndarray:
        """codes : float32 (len(index), d)."""
        return self.frames[self.starts[index]]

    def start_seconds(self, features: Mapping) -> np.ndarray:
        """Where in its recording each row starts : float64 (n_rows,), seconds; 0 per recording."""
        return self.seconds[self.starts].astype(np.float64)


@dataclass(frozen=True)
class CodeSource:
    """The codes of one file, or of several joined; files : {path: content}."""

    files: Mapping[Path, Codes]

    @property
    def name(self) -> str:
        """The name of the model in run names."""
        return "_and_".join(codes.about.name for codes in self.files.values())

    @property
    def inputs(self) -> dict:
        """The inputs that decide a run, for run.json."""
        files = list(self.files.values())
        digests = "+".join(codes.digest for codes in files)
        return {"encoder": digests, "codes": [asdict(codes.about) for codes in files]}

    @property
    def digests(self) -> dict:
        """The digest of each file, for codes that are a teacher, not the encoder of the run."""
        return {codes.about.name: codes.digest for codes in self.files.values()}

    def check(self, recordings: Iterable[str]) -> None:
        """Raise UserError if a file lacks recordings of a data set; print how many are not used.

        recordings : of all splits
        """
        wanted = dict.fromkeys(recordings)
        for path, codes in self.files.items():
            known = set(codes.recordings)
            lost = [recording for recording in wanted if recording not in known]
            if len(lost) == len(wanted):
                raise UserError(
                    f"{path} has none of the recordings of the data set: it holds for example "
                    f"{codes.recordings[0]!a}, the data set {lost[0]!a}; use the names in the "
                    "column recording of the data set's split.csv"
                )
            if lost:
                raise UserError(
                    f"{path} lacks {len(lost)} of the {len(wanted)} recordings of the data set, "
                    f"such as {lost[0]!a}: add their codes to it"
                )
            about, more = codes.about, len(codes.recordings) - len(wanted)
            rest = f"; {more} more recordings in it are not used" if more else ""
            say(f"{path}: {about.title}, {codes.codes.shape[1]} numbers per {about.per}{rest}")

    def rows(self, windows: Windows) -> CodeRows:
        """The codes of the recordings of a data set, in its order; call `check` first."""
        files = list(self.files.values())
        rows = [_rows_of(codes, windows.table["recording"]) for codes in files]
        counts = np.array([len(of_recording) for of_recording in rows[0]])
        rows = [np.concatenate(of_file) for of_file in rows]
        recording, local = positions(counts, hop=1)
        pairs = zip(files, rows, strict=True)
        return CodeRows(
            frames=np.concatenate([codes.codes[taken] for codes, taken in pairs], axis=1),
            table=windows.table.assign(length=counts),
            starts=np.arange(len(recording)),
            recording=recording,
            local=local,
            length=1,
            sha256=windows.sha256,
            seconds=files[0].start_seconds[rows[0]],
        )


def read(paths: Sequence[Path], per_recording: bool) -> CodeSource:
    """Read one or more codes files; the codes of several are joined.

    per_recording : whether codes per window become their mean and standard deviation

    Raises UserError as codes_file.read does, and if two files have the same name of codes.
    """
    files = {path: codes_file.read(path) for path in paths}
    if len({codes.about.name for codes in files.values()}) < len(paths):
        raise UserError(
            f"-s names codes of one name twice ({' + '.join(map(str, paths))}): name each once"
        )
    if per_recording or len(paths) > 1:
        files = {path: by_recording(codes) for path, codes in files.items()}
    return CodeSource(files)


def _rows_of(codes: Codes, recordings: Iterable[str]) -> list[np.ndarray]:
    """The rows of each of these recordings."""
    place = {recording: number for number, recording in enumerate(codes.recordings)}
    ends = [codes.offsets[[place[recording], place[recording] + 1]] for recording in recordings]
    return [np.arange(*pair) for pair in ends]


def by_recording(codes: Codes) -> Codes:
    """Codes per recording; codes per window are reduced to mean and standard deviation."""
    if codes.about.per == "recording":
        return codes
    pairs = zip(codes.offsets[:-1], codes.offsets[1:], strict=True)
    pooled = [mean_and_deviation(codes.codes[first:end]) for first, end in pairs]
    return replace(
        codes,
        about=replace(codes.about, per="recording"),
        codes=np.array(pooled, np.float32),
        offsets=np.arange(len(pooled) + 1),
        start_seconds=np.zeros(len(pooled), np.float32),
    )


def mean_and_deviation(codes: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of codes : float (n, d) -> float64 (2 d,)."""
    codes = np.asarray(codes, np.float64)
    return np.concatenate([codes.mean(axis=0), codes.std(axis=0)])
