"""Labelled windows or codes as batches, classes weighed alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from lib.training.batches import Batches, Take


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
