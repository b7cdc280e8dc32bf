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


def _stretches(settings: Settings, windows: Windows, seeds: Seeds, shuffle: bool) -> Stretches:
    section = settings["nce"]
    length = -(-section["stretch"] // STRIDE)
    if section["steps"] >= length:
        raise UserError(
            f"nce.steps is {section['steps']}, and a stretch of {section['stretch']} frames has "
            f"{length} latents: lower nce.steps, or raise nce.stretch"
        )
    frames = settings["pretrain"]["batch_windows"] * settings["features"]["window_frames"]
    size = max(2, frames // section["stretch"])
    stretches = Stretches(windows, section, size, seeds=seeds, shuffle=shuffle)
    if stretches.items < 2:
        raise UserError(
            f"{stretches.items} stretches of nce.stretch={section['stretch']} frames in the "
            f"{'training' if shuffle else 'validation'} data, 2 are needed: lower nce.stretch, or "
            "use longer recordings"
        )
    return stretches


CONTRASTIVE = Objective(
    _stretches,
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    # share of the predictions whose true latent has the highest score
    partial(keras.metrics.SparseCategoricalAccuracy, name="accuracy"),
)
