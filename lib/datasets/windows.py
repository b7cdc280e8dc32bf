"""Cut the windows of one split from log-mel frames in memory or on disk."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from lib.features.frame_packing import Packing
from lib.features.log_mel import window_seconds
from lib.labels import QUADRANT_SIGNS, QUADRANTS


class OnDisk:
    """Frames of a file larger than memory: read by recording; the last used ones are kept.

    load : number of a recording -> its frames, (length, n_mels); lengths : frames per recording;
    keep : frames to hold in memory at most (the recording in use is always held)
    """

    def __init__(self, load: Callable[[int], np.ndarray], lengths: np.ndarray, keep: int):
        self.load, self.keep, self.kept = load, keep, 0
        self.offsets = offsets(lengths)
        self.cache: OrderedDict[int, np.ndarray] = OrderedDict()

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """frames (n, length, n_mels) of rows : int64 (n, length), each n within one recording."""
        recording = np.searchsorted(self.offsets, rows[:, 0], side="right") - 1
        cut = None
        for number in np.unique(recording):
            inside = np.flatnonzero(recording == number)
            frames = self.recording(int(number))
            if cut is None:
                cut = np.empty((*rows.shape, frames.shape[1]), frames.dtype)
            cut[inside] = frames[rows[inside] - self.offsets[number]]
        return cut

    def recording(self, number: int) -> np.ndarray:
        """frames (length, n_mels) of one recording."""
        if number in self.cache:
            self.cache.move_to_end(number)
            return self.cache[number]
        frames = self.cache[number] = self.load(number)
        self.kept += len(frames)
        while self.kept > self.keep and len(self.cache) > 1:
            self.kept -= len(self.cache.popitem(last=False)[1])
        return frames


@dataclass(frozen=True)
class Windows:
    """The windows of one split.

    frames    : (n_frames, n_mels), in memory or OnDisk; natural-log magnitude, packed or not
    table     : one row per recording
    starts    : int64 (n_windows,), first frame of each window within `frames`
    recording : int64 (n_windows,), row in `table`
    local     : int64 (n_windows,), first frame within the recording
    length    : frames per window
    sha256    : of the file's content
    packing   : how `frames` are stored
    first     : int64 (n_recordings,), first frame of each recording within `frames`, even without
                windows; None: end to end in the order of `table`
    """

    frames: np.ndarray | OnDisk
    table: pd.DataFrame
    starts: np.ndarray
    recording: np.ndarray
    local: np.ndarray
    length: int
    sha256: str
    packing: Packing = field(default_factory=Packing)
    first: np.ndarray | None = None

    def __post_init__(self):
        if self.first is None:
            object.__setattr__(self, "first", offsets(self.table["length"]))

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def on_disk(self) -> bool:
        return isinstance(self.frames, OnDisk)

    @property
    def identity(self) -> str:
        """What in the data decides the result of a training: content and, on disk, the order."""
        return f"{self.sha256}, in blocks of {self.block} frames" if self.on_disk else self.sha256

    @property
    def block(self) -> int:
        """Frames per block, for shuffling frames on disk; two blocks are in use at a time."""
        return max(1, self.frames.keep // 2)

    def take(self, index: np.ndarray, shift: np.ndarray | int = 0) -> np.ndarray:
        """windows : float32 (len(index), n_mels, length, 1), natural-log magnitude.

        shift : number of frames to move each window : int64 (len(index),), within its recording
        """
        rows = (self.starts[index] + shift)[:, None] + np.arange(self.length)
        cut = np.ascontiguousarray(self.frames[rows].transpose(0, 2, 1))[..., None]
        return self.packing.unpack(cut) if cut.dtype == np.uint16 else cut

    def start_seconds(self, features: Mapping) -> np.ndarray:
        """Where in its recording each window starts : float64 (n_windows,), seconds."""
        return window_seconds(self.local, features)

    def labels(self) -> dict[str, np.ndarray]:
        """Class index per window and task : int64 (n_windows,); orders as in lib.labels.TASKS."""
        return {task: values[self.recording] for task, values in self.labels_by_clip().items()}

    def labels_by_clip(self) -> dict[str, np.ndarray]:
        """Class index per recording and task : int64 (n_recordings,)."""
        quadrants = self.table["quadrant"]
        signs = np.array([QUADRANT_SIGNS[q] for q in quadrants], dtype=np.int64).reshape(-1, 2)
        numbers = np.array([QUADRANTS.index(q) for q in quadrants], dtype=np.int64)
        return {"quadrants": numbers, "arousal": signs[:, 0], "valence": signs[:, 1]}

    def mean_and_deviation(self) -> tuple[float, float]:
        """Mean and standard deviation of all frames, natural-log magnitude."""
        count, total, squares = 0, 0.0, 0.0
        for number in range(len(self.table)):
            frames = self.frames_of(number).astype(np.float64)
            values = self.packing.offset + self.packing.step * frames
            count, total = count + values.size, total + values.sum()
            squares += np.square(values).sum()
        mean = total / count
        return mean, float(np.sqrt(max(squares / count - mean**2, 0.0)))

    def shuffled(self, recording: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A random order : int64 (n,) of items, given the recording of each : int64 (n,).

        For frames on disk, recordings are shuffled and cut into blocks, two of which fit in memory.
        The items of a block are shuffled, so that an epoch reads every recording once.
        """
        if not self.on_disk:
            return rng.permutation(len(recording))
        order = rng.permutation(len(self.table))
        block = np.empty(len(self.table), np.int64)
        ends = np.cumsum(self.table["length"].to_numpy()[order])
        block[order] = (ends - 1) // self.block
        return np.lexsort((rng.random(len(recording)), block[recording]))

    def frames_of(self, number: int) -> np.ndarray:
        """frames (length, n_mels) of one recording, as they are stored."""
        first, length = self.first[number], self.table["length"].iloc[number]
        if self.on_disk:
            place = int(np.searchsorted(self.frames.offsets, first, "right")) - 1
            # recordings without frames share a place with the next
            return self.frames.load(place)[:length]
        return self.frames[first : first + length]

    def windows_of(self, numbers: np.ndarray) -> np.ndarray:
        """The windows of the recordings `numbers` : int64, increasing; returns their indices."""
        return np.flatnonzero(np.isin(self.recording, numbers))

    def subset(self, numbers: np.ndarray) -> Windows:
        """The windows of the recordings `numbers` : int64, increasing; frames are shared."""
        place = np.zeros(len(self.table), np.int64)
        place[numbers] = np.arange(len(numbers))
        kept = self.windows_of(numbers)
        table = self.table.iloc[numbers].reset_index(drop=True)
        content = "\0".join([self.sha256, *table["recording"]])
        return replace(
            self,
            table=table,
            starts=self.starts[kept],
            recording=place[self.recording[kept]],
            local=self.local[kept],
            first=self.first[numbers],
            sha256=hashlib.sha256(content.encode()).hexdigest(),
        )

    def stretches(self, length: int) -> Windows:
        """The same frames in consecutive windows of `length` frames; a recording with fewer frames
        has none."""
        counts = self.table["length"].to_numpy() // length
        counts[np.bincount(self.recording, minlength=len(counts)) == 0] = 0
        recording, local = positions(counts, length)
        return replace(
            self,
            starts=self.first[recording] + local,
            recording=recording,
            local=local,
            length=length,
        )

    def draw(self, number: int, rng: np.random.Generator) -> np.ndarray:
        """`number` windows, drawn as evenly as possible over the recordings : int64, shuffled."""
        order = rng.permutation(len(self))
        turn = pd.Series(self.recording[order]).groupby(self.recording[order]).cumcount()
        return rng.permutation(order[np.argsort(turn.to_numpy(), kind="stable")[:number]])


def pooled(parts: Sequence[Windows]) -> Windows:
    """The windows of several splits as one, in their order; on disk if one of them is.

    parts : as read from their files; not subsets, whose frames include other recordings
    """
    tables = [part.table for part in parts]
    first_row = offsets([len(table) for table in tables])
    first_frame = offsets([table["length"].sum() for table in tables])
    table = pd.concat(tables, ignore_index=True)

    def load(number: int) -> np.ndarray:
        part = int(np.searchsorted(first_row, number, "right")) - 1
        return parts[part].frames_of(number - first_row[part])

    keep = [part.frames.keep for part in parts if part.on_disk]
    if keep:
        frames = OnDisk(load, table["length"].to_numpy(), max(keep))
    else:
        frames = np.concatenate([part.frames for part in parts])
    pairs = list(zip(parts, first_frame, first_row, strict=True))
    return replace(
        parts[0],
        frames=frames,
        table=table,
        starts=np.concatenate([part.starts + frame for part, frame, _ in pairs]),
        recording=np.concatenate([part.recording + row for part, _, row in pairs]),
        local=np.concatenate([part.local for part in parts]),
        first=np.concatenate([part.first + frame for part, frame, _ in pairs]),
        sha256=hashlib.sha256("".join(part.sha256 for part in parts).encode()).hexdigest(),
    )


def offsets(lengths: Sequence[int]) -> np.ndarray:
    """The first frame of each recording of a data set, stored end to end : int64 (n,)."""
    lengths = np.asarray(lengths, np.int64)
    return np.cumsum(lengths) - lengths


def positions(counts: np.ndarray, hop: int) -> tuple[np.ndarray, np.ndarray]:
    """Recording and first frame in it : int64 (n,), of windows, `counts` in each recording."""
    recording = np.repeat(np.arange(len(counts)), counts)
    return recording, (np.arange(len(recording)) - offsets(counts)[recording]) * hop


def memory_limit(memory_gb: float) -> float:
    """Bytes of frames to hold per split: `memory_gb`, or a quarter of the machine's memory if 0."""
    if memory_gb:
        return memory_gb * 1e9
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 4
