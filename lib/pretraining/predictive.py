"""The CPC objective of the paper: classify whether windows follow the windows before them."""

from __future__ import annotations

from functools import partial

import keras

from lib.configuration import Settings
from lib.datasets.windows import Windows
from lib.errors import UserError
from lib.pretraining.objective import Objective
from lib.seeds import Seeds
from lib.training.contrastive_batches import Sequences


def _sequences(settings: Settings, windows: Windows, seeds: Seeds, shuffle: bool) -> Sequences:
    section = settings["cpc"]
    length = section["past"] + section["future"]
    size = max(1, settings["pretrain"]["batch_windows"] // length)
    sequences = Sequences(windows, section, size, seeds=seeds, shuffle=shuffle)
    if not sequences.items:
        raise UserError(
            f"no recording of the {'training' if shuffle else 'validation'} data has {length} "
            "windows for a sequence of cpc.past + cpc.future: lower them, or use longer recordings"
        )
    return sequences


PREDICTIVE = Objective(
    _sequences,
    "binary_crossentropy",
    # share of the pairs of past and future that are recognised as true or false
    partial(keras.metrics.BinaryAccuracy, name="accuracy"),
)
