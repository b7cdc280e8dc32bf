"""Batches of windows with noise or hidden patches, paired with the clean windows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from lib.datasets.windows import Windows
from lib.seeds import FIRST, Seeds
from lib.training import augmentation
from lib.training.batches import Batches


class DenoisingPairs(Batches):
    """(windows plus Gaussian noise, clean windows), both float32 (n, n_mels, frames, 1).

    section : of the settings, with `noise`, the standard deviation added to the log-mel values
    """

    def __init__(
        self,
        windows: Windows,
        section: Mapping,
        size: int,
        seeds: Seeds = FIRST,
        shuffle: bool = False,
    ):
        order = partial(windows.shuffled, windows.recording)
        super().__init__(len(windows), size, seeds, shuffle, order)
        self.source, self.section = windows, section

    def load(self, index, counts, rng):
        clean = self.source.take(index)
        noise = rng.standard_normal(clean.shape, dtype=np.float32)
        return clean + np.float32(self.section["noise"]) * noise, clean, counts[:, None, None]


class MaskedPairs(DenoisingPairs):
    """(windows with noise and hidden patches, clean windows); only the hidden values count.

    section : section `mask` of the settings; a hidden value becomes the mean of its window
    """

    def load(self, index, counts, rng):
        noisy, clean, counts = super().load(index, counts, rng)
        patch = self.section["mel"], self.section["frames"]
        hidden = augmentation.patches(rng, clean.shape[:3], patch, self.section["share"])
        means = np.broadcast_to(clean.mean(axis=(1, 2, 3), keepdims=True), clean.shape)
        noisy[hidden] = means[hidden]
        # divided by their share, so that the loss is the mean over hidden values
        return noisy, clean, counts * hidden / np.float32(hidden.mean())
