"""The parts of a pretraining objective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras


@dataclass(frozen=True)
class Objective:
    """How encoders of one kind are pretrained; lib.models.catalogue says which model has which.

    batches : (settings, windows, seeds, shuffle) -> batches; shuffled to train, not to validate
    loss    : as for keras.Model.compile
    measure : makes a metric that is shown next to the loss
    draw    : (model, validation batches, folder, title), draws a figure of its own
    """

    batches: Callable
    loss: object
    measure: Callable[[], keras.metrics.Metric] | None = None
    draw: Callable | None = None
