"""Batches for contrastive pretraining: sequences and stretches of windows with their futures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from lib.datasets.windows import Windows
from lib.models.framewise_encoder import STRIDE
from lib.seeds import FIRST, Seeds
from lib.training.batches import Batches


class Stretches(Batches):
    """CPC-NCE: stretches of frames, numbers that are equal for equal latents, and true futures.

    A recording is cut into consecutive stretches. In training, each is moved within the recording
    by up to half its length, by a new draw in every epoch. Shorter recordings are left out.

    section : section `nce` of the settings: frames of a stretch, number of predicted latents
    """

    def __init__(
        self,
        windows: Windows,
        section: Mapping,
        size: int,
        seeds: Seeds = FIRST,
        shuffle: bool = False,
    ):
        self.source = windows.stretches(section["stretch"])
        order = partial(self.source.shuffled, self.source.recording)
        super().__init__(len(self.source), size, seeds, shuffle, order)
        self.windows = self.source.length / windows.length
        latents, steps = -(-self.source.length // STRIDE), section["steps"]
        future = np.arange(latents - steps)[:, None] + 1 + np.arange(steps)
        self.true = (np.arange(self.size)[:, None, None] * latents + future).astype(np.int32)

    def load(self, index, counts, rng):
        source, length = self.source, self.source.length
        shift = np.zeros(len(index), np.int64)
        if self.shuffle:
            last = source.table["length"].to_numpy()[source.recording[index]] - length
            start = source.local[index]
            moved = start + rng.integers(-(length // 2), length // 2 + 1, len(index))
            shift = np.clip(moved, 0, last) - start
        log_mel = source.take(index, shift)
        weights = np.broadcast_to(counts[:, None, None], self.true.shape)
        return {"log_mel": log_mel, "sounds": _sounds(log_mel)}, self.true, weights


def _sounds(log_mel: np.ndarray) -> np.ndarray:
    """A number per latent, equal for equal frames : int32 (n, ceil(frames / STRIDE)).

    log_mel : float32 (n, n_mels, frames, 1)
    """
    n, bands, frames, _ = log_mel.shape
    padded = np.pad(log_mel[..., 0], ((0, 0), (0, 0), (0, -frames % STRIDE)), mode="edge")
    rows = np.ascontiguousarray(padded.transpose(0, 2, 1)).reshape(-1, STRIDE * bands)
    whole_row = np.dtype((np.void, rows.itemsize * rows.shape[1]))
    _, number = np.unique(rows.view(whole_row), return_inverse=True)
    return number.reshape(n, -1).astype(np.int32)


class Sequences(Batches):
    """CPC: sequences of past + future windows and whether the future follows the past.

    A recording is cut into consecutive sequences; a remainder that is too short is not used. Every
    other sequence becomes a negative (in training, the halves swap from epoch to epoch): "order"
    reorders its future windows, "elsewhere" takes the future of another sequence. A negative that
    would equal its positive (silence, repetition) takes its future from elsewhere; if none of the
    futures that are tried differs, it stays a positive.

    section : section `cpc` of the settings: windows of past and future, kind of negatives
    """

    def __init__(
        self,
        windows: Windows,
        section: Mapping,
        size: int,
        seeds: Seeds = FIRST,
        shuffle: bool = False,
    ):
        self.past, self.future = section["past"], section["future"]
        self.negatives, self.windows = section["negatives"], self.past + self.future
        self.first = sequence_starts(windows.recording, self.windows)
        order = partial(windows.shuffled, windows.recording[self.first])
        super().__init__(len(self.first), size, seeds, shuffle, order)
        self.source = windows

    def load(self, index, counts, rng):
        rows = self.first[index][:, None] + np.arange(self.windows)
        follows = (index + (self.epoch if self.shuffle else 0)) % 2 == 0
        for number in np.flatnonzero(~follows):
            future = self._negative(rows[number, self.past :], index, rng)
            if future is None:
                follows[number] = True
            else:
                rows[number, self.past :] = future
        x = self.source.take(rows.ravel())
        x = x.reshape(len(index), self.windows, *x.shape[1:])
        return x, follows.astype(np.float32)[:, None], counts

    def _negative(self, true: np.ndarray, index: np.ndarray, rng) -> np.ndarray | None:
        """Window numbers of a future that differs from the `true` one, or None."""
        candidates = [true[_derangement(self.future, rng)]] if self.negatives == "order" else []
        # elsewhere: any sequence, or one of this batch if each would be read from disk
        pool = index if self.source.on_disk else np.arange(self.items)
        others = self.first[rng.choice(pool, size=min(8, len(pool)), replace=False)]
        candidates += [start + self.past + np.arange(self.future) for start in others]
        positive = self.source.take(true)
        for candidate in candidates:
            if not np.array_equal(self.source.take(candidate), positive):
                return candidate
        return None


def sequence_starts(recording: np.ndarray, length: int) -> np.ndarray:
    """First window of every sequence of `length` consecutive windows of one recording.

    recording : int64 (n_windows,), sorted; the recording of each window
    """
    _, first, counts = np.unique(recording, return_index=True, return_counts=True)
    starts = [f + length * np.arange(n // length) for f, n in zip(first, counts, strict=True)]
    return np.concatenate([np.zeros(0, np.int64), *starts])


def _derangement(n: int, rng: np.random.Generator) -> np.ndarray:
    """A random order of n items that is not the identity."""
    while True:
        order = rng.permutation(n)
        if not np.array_equal(order, np.arange(n)):
            return order
