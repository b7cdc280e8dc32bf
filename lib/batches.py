"""Batches for training: labelled windows or codes, denoising pairs, CPC sequences, stretches.

All are keras.utils.PyDataset whose content is a function of (seed, epoch, index) alone, so that a
resumed run sees the same batches as an uninterrupted one. All batches have the same size, so that
a step is compiled once. Every item of a split counts exactly once per epoch: the last batch is
filled up with the epoch's first items, which batch norm sees, and whose weight in loss and measures
is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import keras
import numpy as np

from lib import augmentation
from lib.windows import Windows

Take = Callable[[np.ndarray], np.ndarray]


class Batches(keras.utils.PyDataset):
    """Shuffled or ordered batches of item numbers; subclasses say what an item is.

    Parameters
    ----------
    items : number of items
    size : items per batch; fewer where there are not as many
    seed : of the order (one per epoch) and of what a subclass draws
    shuffle : False serves items in order, and draws the same in every epoch (validation)
    order : random generator -> order of the items : int64 (items,), when shuffled; by default any
    """

    def __init__(
        self,
        items: int,
        size: int,
        seed: int = 0,
        shuffle: bool = False,
        order: Callable[[np.random.Generator], np.ndarray] | None = None,
    ):
        super().__init__()
        self.items, self.size = items, max(1, min(size, items))
        self.seed, self.shuffle = seed, shuffle
        self.order = order or (lambda rng: rng.permutation(items))
        self.epoch = 0  # set by training: Keras calls on_epoch_end more often than once per epoch
        self.drawn = (None, np.arange(items))  # (seed and epoch, its order)

    windows = 1  # per item

    def draw(self, number: int, order: Callable[[np.random.Generator], np.ndarray]) -> None:
        """Serve `number` of the items in each epoch : int64 (number,), those that `order` draws."""
        self.items, self.size, self.order = number, min(self.size, number), order

    def __len__(self) -> int:
        return -(-self.items // self.size)

    @property
    def served(self) -> float:
        """Items served per item: by this a mean over batches is too small, for the weights of 0."""
        return len(self) * self.size / self.items

    def __getitem__(self, batch: int):
        epoch = self.epoch if self.shuffle else 0
        if self.shuffle and self.drawn[0] != (self.seed, epoch):
            self.drawn = (self.seed, epoch), self.order(np.random.default_rng([self.seed, epoch]))
        order, rng = self.drawn[1], np.random.default_rng([self.seed, epoch, batch + 1])
        chosen = order[batch * self.size : (batch + 1) * self.size]
        counts = (np.arange(self.size) < len(chosen)).astype(np.float32)
        chosen = np.concatenate([chosen, order[: self.size - len(chosen)]])
        return self.load(chosen, counts, rng)

    def load(self, chosen: np.ndarray, counts: np.ndarray, rng: np.random.Generator):
        """The batch of the items `chosen` : int64 (n,), with weights from `counts` : float32 (n,),
        which is 1, or 0 where an item only fills the batch up."""
        raise NotImplementedError


class Inputs(Batches):
    """Inputs alone, in order: `take(index)` gives them. What fills the last batch up is at its end,
    and so is what is predicted for it."""

    def __init__(self, take: Take, items: int, size: int):
        super().__init__(items, size)
        self.take = take

    def load(self, chosen, counts, rng):
        return (self.take(chosen),)


class Labelled(Batches):
    """Inputs, targets per task and sample weights per task.

    Parameters
    ----------
    take : item numbers -> inputs, float32 (n, …): windows or their codes
    labels : {task: int64 (items,)}
    weights : {task: float32 (classes,)}, weight of each class
    change : (inputs, {task: float32 (n, classes)}, generator) -> the same, changed (augmentation)
    """

    def __init__(
        self,
        take: Take,
        labels: Mapping[str, np.ndarray],
        weights: Mapping[str, np.ndarray],
        size: int,
        seed: int = 0,
        shuffle: bool = False,
        order: Callable[[np.random.Generator], np.ndarray] | None = None,
        change: Callable | None = None,
    ):
        super().__init__(len(next(iter(labels.values()))), size, seed, shuffle, order)
        self.take, self.labels, self.weights = take, dict(labels), dict(weights)
        self.change = change

    def load(self, chosen, counts, rng):
        x = self.take(chosen)
        y = {
            task: np.eye(len(self.weights[task]), dtype=np.float32)[values[chosen]]
            for task, values in self.labels.items()
        }
        if self.change:
            x, y = self.change(x, y, rng)
        return x, y, {task: values @ self.weights[task] * counts for task, values in y.items()}


def balanced_weights(
    labels: Mapping[str, np.ndarray], classes: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Class weights items / (classes x items of the class) : float32 (classes,) per task.

    Keras 3 refuses `class_weight` for several outputs, so they go in as sample weights. A class
    that does not occur gets 0.
    """
    weights = {}
    for task, values in labels.items():
        counts = np.bincount(values, minlength=classes[task])
        weights[task] = np.where(
            counts > 0, len(values) / (classes[task] * np.maximum(counts, 1)), 0
        ).astype(np.float32)
    return weights


class DenoisingPairs(Batches):
    """(windows plus Gaussian noise, clean windows), both float32 (n, n_mels, frames, 1).

    noise : standard deviation on the log-mel values (natural log)
    """

    def __init__(
        self, windows: Windows, noise: float, size: int, seed: int = 0, shuffle: bool = False
    ):
        order = partial(windows.shuffled, windows.recording)
        super().__init__(len(windows), size, seed, shuffle, order)
        self.source, self.noise = windows, np.float32(noise)

    def load(self, chosen, counts, rng):
        clean = self.source.take(chosen)
        noise = self.noise * rng.standard_normal(clean.shape, dtype=np.float32)
        return clean + noise, clean, counts[:, None, None]


class MaskedPairs(DenoisingPairs):
    """(windows with noise and hidden patches, clean windows), of which the hidden values count.

    patch : mel bands and frames of a patch; share : of a window's patches that are hidden, to its
    mean
    """

    def __init__(self, windows: Windows, noise: float, patch, share: float, *args, **kwargs):
        super().__init__(windows, noise, *args, **kwargs)
        self.patch, self.share = patch, share

    def load(self, chosen, counts, rng):
        noisy, clean, counts = super().load(chosen, counts, rng)
        hidden = augmentation.patches(rng, clean.shape[:3], self.patch, self.share)
        means = np.broadcast_to(clean.mean(axis=(1, 2, 3), keepdims=True), clean.shape)
        noisy[hidden] = means[hidden]
        # by their share, so that the loss is the mean over hidden values
        return noisy, clean, counts * hidden / np.float32(hidden.mean())


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
