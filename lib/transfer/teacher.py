"""A teacher: the codes of another encoder, which a classifier in training foretells beside labels.

A classifier that is trained on few labelled clips learns from the teacher what else is in the sound
(distillation: Hinton 2015; of representations: FitNets, Romero 2015). For each window it foretells
the teacher's code at the middle of the window, in few numbers: the principal components over the
clips of the training. What foretells is left out of the saved model.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lib.datasets.code_source import CodeRows, CodeSource
from lib.datasets.windows import Windows
from lib.features.log_mel import window_seconds

NAME = "teacher"  # of the output that foretells
APART = 1e6  # s, more than any recording lasts


def lessons(
    codes: CodeSource, data: Mapping[str, Windows], features: Mapping, dimensions: int
) -> dict[str, np.ndarray]:
    """What windows are to foretell, by split : {split: float32 (n_windows, k)}, variance 1 in all.

    data : "train", whose clips decide the components, and other splits
    dimensions : k, or fewer where the codes, or the clips' rows, are fewer
    """
    rows = {name: codes.rows(windows) for name, windows in data.items()}
    known = rows["train"].frames.astype(np.float64)
    components = min(dimensions, *known.shape)
    reduce = make_pipeline(StandardScaler(), PCA(components, svd_solver="full")).fit(known)
    scale = reduce.transform(known).std() or 1.0
    given = {}
    for name, windows in data.items():
        told = reduce.transform(rows[name].frames.astype(np.float64)) / scale
        given[name] = told[_at_middle(rows[name], windows, features)].astype(np.float32)
    return given


def _at_middle(rows: CodeRows, windows: Windows, features: Mapping) -> np.ndarray:
    """The row of codes that began last at the middle of each window : int64 (n_windows,)."""
    starts = rows.recording * APART + rows.seconds
    middle = windows.start_seconds(features) + window_seconds(windows.length, features) / 2
    order = np.argsort(starts, kind="stable")
    place = np.searchsorted(starts[order], windows.recording * APART + middle, "right") - 1
    first = np.searchsorted(rows.recording, windows.recording)  # where a code begins too late
    return order[np.maximum(place, first)]


def pupil(model: keras.Model, dimensions: int) -> keras.Model:
    """A classifier (emotion_heads.classifier), its layers shared, with one more output.

    Returns (batch, n_mels, frames, 1) -> {task: probabilities, NAME: (batch, dimensions)}.
    """
    inputs = keras.Input(model.input_shape[1:], name="log_mel")
    code = model.get_layer("encoder")(inputs)
    outputs = dict(model.get_layer("heads")(code))
    outputs[NAME] = keras.layers.Dense(dimensions, name=NAME)(code)
    return keras.Model(inputs, outputs, name=model.name)
