"""Denoising objectives: restore clean windows from windows with noise or with hidden patches."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import keras
import numpy as np

from lib.configuration import Settings
from lib.datasets.windows import Windows
from lib.figures import reconstructions
from lib.pretraining.objective import Objective
from lib.seeds import Seeds
from lib.training.denoising_batches import DenoisingPairs, MaskedPairs


def _noisy(settings: Settings, windows: Windows, seeds: Seeds, shuffle: bool) -> DenoisingPairs:
    size = settings["pretrain"]["batch_windows"]
    return DenoisingPairs(windows, settings["scae"], size, seeds=seeds, shuffle=shuffle)


def _hidden(settings: Settings, windows: Windows, seeds: Seeds, shuffle: bool) -> MaskedPairs:
    size = settings["pretrain"]["batch_windows"]
    return MaskedPairs(windows, settings["mask"], size, seeds=seeds, shuffle=shuffle)


def _draw(
    given: str, back: str, model: keras.Model, pairs: DenoisingPairs, run: Path, title: str
) -> None:
    """given, back : names of the network's input and output in the figure"""
    items = np.linspace(0, pairs.items - 1, min(6, pairs.items)).astype(int)
    x, clean, _ = pairs.load(items, np.ones(len(items)), pairs.seeds.figure())
    rows = {"clean": clean, given: x, back: model.predict(x, verbose=0)}
    reconstructions.reconstructions(rows, run / "reconstructions.png", title)


DENOISING = Objective(_noisy, "mse", draw=partial(_draw, "noisy", "denoised"))
MASKED = Objective(_hidden, "mse", draw=partial(_draw, "hidden in part", "restored"))
