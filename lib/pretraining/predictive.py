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


def _sequences(settings: Settings, train: Windows, val: Windows, seeds: Seeds) -> list[Sequences]:
    section = settings["cpc"]
    size = max(1, settings["pretrain"]["batch_windows"] // (section["past"] + section["future"]))
    sequences = [
        Sequences(part, section, size, seeds=seeds, shuffle=part is train) for part in (train, val)
    ]
    for name, served in zip(("training", "validation"), sequences, strict=True):
        if not served.items:
            raise UserError(
                f"no recording of the {name} data has {section['past'] + section['future']} windows"
                " for a sequence of cpc.past + cpc.future: lower them, or use longer recordings"
            )
    return sequences


PREDICTIVE = Objective(
    _sequences,
    "binary_crossentropy",
    # share of the pairs of past and future that are recognised as true or false
    partial(keras.metrics.BinaryAccuracy, name="told_apart"),
)
