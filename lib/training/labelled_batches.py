"""Batches of labelled windows or codes, with sample weights that balance the classes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from lib.datasets.windows import Windows
from lib.seeds import FIRST, Seeds
from lib.training import augmentation
from lib.training.batches import Batches, Take


class Labelled(Batches):
    """Inputs, targets per task and sample weights per task.

    windows : the labelled windows
    take : numbers of windows -> inputs, float32 (n, …): the windows or their codes
    weights : {task: float32 (classes,)}, weight of each class
    """

    def __init__(
        self,
        windows: Windows,
        take: Take,
        weights: Mapping[str, np.ndarray],
        size: int,
        seeds: Seeds = FIRST,
        shuffle: bool = False,
    ):
        order = partial(windows.shuffled, windows.recording)
        super().__init__(len(windows), size, seeds, shuffle, order)
        self.source, self.take = windows, take
        self.labels, self.weights = windows.labels(), weights
        self.change = None
        self.targets: tuple[str, np.ndarray, float] | None = None

    def augment(self, section: Mapping) -> None:
        """Apply section `augment` of the settings: change the items, or serve fewer per epoch."""
        self.change = partial(augmentation.change, section)
        number = section["windows_per_epoch"]
        if 0 < number < len(self.source):
            self.items, self.size = number, min(self.size, number)
            self.order = partial(self.source.draw, number)

    def add_targets(self, name: str, targets: np.ndarray, weight: float) -> None:
        """Add the target `name`, `targets`: float32 (n_windows, k), and its weight in the loss."""
        self.targets = name, targets, weight

    def load(self, index, counts, rng):
        x = self.take(index)
        y = {
            task: np.eye(len(self.weights[task]), dtype=np.float32)[classes[index]]
            for task, classes in self.labels.items()
        }
        if self.change:
            x, y = self.change(x, y, rng)
        weights = {task: values @ self.weights[task] * counts for task, values in y.items()}
        if self.targets:
            name, targets, weight = self.targets
            y[name], weights[name] = targets[index], weight * counts
        return x, y, weights


def balanced_weights(
    labels: Mapping[str, np.ndarray], classes: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Class weights items / (classes x items of the class) : float32 (classes,) per task.

    Keras 3 refuses `class_weight` for several outputs, so they are passed as sample weights. A
    class that does not occur gets 0.
    """
    weights = {}
    for task, values in labels.items():
        counts = np.bincount(values, minlength=classes[task])
        share = len(values) / (classes[task] * np.maximum(counts, 1))
        weights[task] = np.where(counts > 0, share, 0).astype(np.float32)
    return weights
