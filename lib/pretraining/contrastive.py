"""The InfoNCE objective: each prediction must pick its true latent among all of the batch."""

from __future__ import annotations

from functools import partial

import keras

from lib.configuration import Settings
from lib.datasets.windows import Windows
from lib.errors import UserError
from lib.models.framewise_encoder import STRIDE
from lib.pretraining.objective import Objective
from lib.seeds import Seeds
from lib.training.contrastive_batches import Stretches


def _stretches(settings: Settings, train: Windows, val: Windows, seeds: Seeds) -> list[Stretches]:
    section = settings["nce"]
    length = -(-section["stretch"] // STRIDE)
    if section["steps"] >= length:
        raise UserError(
            f"nce.steps is {section['steps']}, and a stretch of {section['stretch']} frames has "
            f"{length} latents: lower nce.steps, or raise nce.stretch"
        )
    windows = settings["pretrain"]["batch_windows"] * settings["features"]["window_frames"]
    stretches = [
        Stretches(
            part,
            section,
            size=max(2, windows // section["stretch"]),
            seeds=seeds,
            shuffle=part is train,
        )
        for part in (train, val)
    ]
    for name, served in zip(("training", "validation"), stretches, strict=True):
        if served.items < 2:
            raise UserError(
                f"{served.items} stretches of nce.stretch={section['stretch']} frames in the "
                f"{name} data, 2 are needed: lower nce.stretch, or use longer recordings"
            )
    return stretches


CONTRASTIVE = Objective(
    _stretches,
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    # share of the predictions whose true latent has the highest score
    partial(keras.metrics.SparseCategoricalAccuracy, name="told_apart"),
)
