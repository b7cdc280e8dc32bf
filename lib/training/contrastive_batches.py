"""Sequences and stretches of windows whose future has to be told apart, as batches."""

from __future__ import annotations

from functools import partial

import numpy as np

from lib.datasets.windows import Windows
from lib.training.batches import Batches


class Stretches(Batches):
    """CPC-NCE: stretches of sound, which of their moments sound the same, and the true futures.

    A recording is cut into stretches of `length` frames end to end; in training each is moved by up
    to half its length, anew in every epoch, as far as the recording goes. Recordings shorter than
    that are left out.

    length, stride : frames of a stretch and per latent; steps : latents that are predicted
    """

    def __init__(
        self,
        windows: Windows,
        length: int,
        stride: int,
        steps: int,
        size: int,
        seed: int = 0,
        shuffle: bool = False,
    ):
        self.source = windows.stretches(length)
        order = partial(self.source.shuffled, self.source.recording)
        super().__init__(len(self.source), size, seed, shuffle, order)
        self.stride, self.windows = stride, length / windows.length
        latents = -(-length // stride)
        anchors = np.arange(latents - steps)
        future = anchors[:, None] + 1 + np.arange(steps)
        self.true = np.arange(self.size)[:, None, None] * latents + future

    def load(self, chosen, counts, rng):
        source, length = self.source, self.source.length
        shift = np.zeros(len(chosen), np.int64)
        if self.shuffle:
            end = source.table["length"].to_numpy()[source.recording[chosen]] - length
            there = source.local[chosen]
            moved = there + rng.integers(-(length // 2), length // 2 + 1, len(chosen))
            shift = np.clip(moved, 0, end) - there
        log_mel = source.take(chosen, shift)
        x = {"log_mel": log_mel, "sounds": _sounds(log_mel, self.stride)}
        return (
            x,
            self.true.astype(np.int32),
            np.broadcast_to(counts[:, None, None], self.true.shape),
        )


def _sounds(log_mel: np.ndarray, stride: int) -> np.ndarray:
    """A number per latent, the same for the same frames : int32 (n, ceil(frames / stride)).

    log_mel : float32 (n, n_mels, frames, 1)
    """
    n, bands, frames, _ = log_mel.shape
    padded = np.pad(log_mel[..., 0], ((0, 0), (0, 0), (0, -frames % stride)), mode="edge")
    rows = padded.transpose(0, 2, 1).reshape(-1, stride * bands)
    _, number = np.unique(
        np.ascontiguousarray(rows).view(np.dtype((np.void, rows.itemsize * rows.shape[1]))),
        return_inverse=True,
    )
    return number.reshape(n, -1).astype(np.int32)


class Sequences(Batches):
    """CPC: sequences of past + future windows and whether the future follows the past.

    A recording is cut into consecutive sequences; a rest too short for one is not used. Every other
    sequence is made a negative (in training the halves swap from epoch to epoch), by `negatives`:
        "order"      the future windows in another order, never the true one
        "elsewhere"  the future of another sequence
    A negative that would equal its positive (silence, repetition) takes its future from elsewhere;
    where every future is the same it stays a positive.
    """

    def __init__(
        self,
        windows: Windows,
        past: int,
        future: int,
        size: int,
        seed: int = 0,
        shuffle: bool = False,
        negatives: str = "order",
    ):
        self.past, self.future, self.negatives = past, future, negatives
        self.windows = past + future
        self.first = sequence_starts(windows.recording, past + future)
        order = partial(windows.shuffled, windows.recording[self.first])
        super().__init__(len(self.first), size, seed, shuffle, order)
        self.source = windows

    def load(self, chosen, counts, rng):
        index = self.first[chosen][:, None] + np.arange(self.windows)
        swap = self.epoch if self.shuffle else 0
        follows = (chosen + swap) % 2 == 0
        for row in np.flatnonzero(~follows):
            other = self._negative(index[row, self.past :], chosen, rng)
            follows[row] = other is None
            if other is not None:
                index[row, self.past :] = other
        x = self.source.take(index.ravel())
        x = x.reshape(len(chosen), self.windows, *x.shape[1:])
        return x, follows.astype(np.float32)[:, None], counts

    def _negative(
        self, true: np.ndarray, chosen: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray | None:
        """Window numbers of a future that differs from the `true` one, or None."""
        positive = self.source.take(true)
        candidates = []
        if self.negatives == "order":
            candidates.append(true[_derangement(self.future, rng)])
        # elsewhere: any sequence, or, where each would be read from disk, one of this batch
        pool = chosen if self.source.on_disk else self.items
        size = min(8, len(chosen) if self.source.on_disk else self.items)
        others = self.first[rng.choice(pool, size=size, replace=False)]
        candidates += [start + self.past + np.arange(self.future) for start in others]
        for candidate in candidates:
            if not np.array_equal(self.source.take(candidate), positive):
                return candidate
        return None


def sequence_starts(recording: np.ndarray, length: int) -> np.ndarray:
    """First window of every sequence of `length` consecutive windows of one recording.

    recording : int64 (n_windows,), sorted; which recording each window is of
    """
    numbers, first, counts = np.unique(recording, return_index=True, return_counts=True)
    starts = [f + length * np.arange(n // length) for f, n in zip(first, counts, strict=True)]
    return np.concatenate(starts) if len(numbers) else np.zeros(0, np.int64)


def _derangement(n: int, rng: np.random.Generator) -> np.ndarray:
    """A random order of n items that is not the identity."""
    while True:
        order = rng.permutation(n)
        if not np.array_equal(order, np.arange(n)):
            return order
