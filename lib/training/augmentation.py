"""Augmentation of training windows, to delay overfitting; pure functions on arrays.

Arguments change in place only where a docstring says so. Every draw is from the given generator.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Targets = dict[str, np.ndarray]  # {task: float32 (n, classes)}, each row a distribution


def mask(
    windows: np.ndarray, rng: np.random.Generator, axis: int, masks: int, width: int
) -> np.ndarray:
    """SpecAugment's masks (Park 2019), in place: set bands or frames to the mean of all windows.

    windows : float32 (n, n_mels, frames, 1); axis : 1 for mel bands, 2 for frames; masks : per
    window; width : largest width of a mask, drawn uniformly from 0 to `width`
    """
    n, size, mean = len(windows), windows.shape[axis], windows.mean()
    hidden = np.zeros((n, size), bool)
    for _ in range(masks):
        extent = np.minimum(rng.integers(0, width + 1, n), size)
        first = (rng.random(n) * (size - extent + 1)).astype(int)
        place = np.arange(size)
        hidden |= (place >= first[:, None]) & (place < (first + extent)[:, None])
    np.moveaxis(windows, axis, 1)[hidden] = mean
    return windows


def shift(windows: np.ndarray, rng: np.random.Generator, bands: int) -> np.ndarray:
    """Move each window along the mel axis, in place; the outermost band fills the gap.

    windows : float32 (n, n_mels, frames, 1); bands : largest move, drawn uniformly
    """
    n, size = windows.shape[:2]
    moved = rng.integers(-bands, bands + 1, n)
    place = np.clip(np.arange(size) - moved[:, None], 0, size - 1)
    windows[:] = np.take_along_axis(windows, place[:, :, None, None], axis=1)
    return windows


def smooth(y: Targets, amount: float) -> Targets:
    """Label smoothing (Szegedy 2016): spread `amount` of each target over all classes."""
    return {task: (1 - amount) * v + amount / v.shape[1] for task, v in y.items()}


def patches(
    rng: np.random.Generator, shape: tuple[int, int, int], patch: tuple[int, int], share: float
) -> np.ndarray:
    """Which values of windows are hidden : bool (n, n_mels, frames).

    shape : (n, n_mels, frames); patch : bands and frames of a patch, on a grid; share : of the
    patches of each window that are hidden, at least one and not all
    """
    n, grid = shape[0], [-(-size // step) for size, step in zip(shape[1:], patch, strict=True)]
    cells = grid[0] * grid[1]
    count = min(max(1, round(share * cells)), max(1, cells - 1))
    hidden = rng.random((n, cells)).argsort(axis=1) < count
    hidden = hidden.reshape(n, *grid).repeat(patch[0], axis=1).repeat(patch[1], axis=2)
    return hidden[:, : shape[1], : shape[2]]


def change(
    augment: Mapping, x: np.ndarray, y: Targets, rng: np.random.Generator
) -> tuple[np.ndarray, Targets]:
    """Augment inputs and targets by section `augment` of the settings; windows change in place,
    codes do not change."""
    if x.ndim == 4:
        if augment["mel_shift"]:
            shift(x, rng, augment["mel_shift"])
        for axis, masked in ((1, "mel"), (2, "time")):
            masks, width = augment[f"{masked}_masks"], augment[f"{masked}_width"]
            if masks and width:
                mask(x, rng, axis, masks, width)
    return x, smooth(y, augment["smoothing"]) if augment["smoothing"] else y
