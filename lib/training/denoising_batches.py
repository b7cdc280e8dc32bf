"""Windows with noise or hidden patches, and as they are, as batches."""

from __future__ import annotations

from functools import partial

import numpy as np

from lib.datasets.windows import Windows
from lib.training import augmentation
from lib.training.batches import Batches


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
