"""A teacher: codes of another encoder that a classifier learns to predict, in addition to labels.

With few labelled clips, the codes are further targets (distillation: Hinton 2015; of
representations: FitNets, Romero 2015). For each window the classifier predicts
the teacher's code at the middle of the window, reduced to its principal components over the
training clips. The layer that predicts the code is not saved.
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

NAME = "teacher"  # of the output that predicts the code
APART = 1e6  # s, longer than any recording


def targets(
    codes: CodeSource, data: Mapping[str, Windows], features: Mapping, dimensions: int
) -> dict[str, np.ndarray]:
    """Targets of windows, by split : {split: float32 (n_windows, k)}, divided by one number so that
    all values of the training codes together have variance 1.

    data : "train", whose clips decide the components, and other splits
    dimensions : k, or fewer if the codes have fewer dimensions or the clips fewer rows
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
    """The last row of codes that starts by the middle of each window : int64 (n_windows,)."""
    starts = rows.recording * APART + rows.seconds
    middle = windows.start_seconds(features) + window_seconds(windows.length, features) / 2
    order = np.argsort(starts, kind="stable")
    place = np.searchsorted(starts[order], windows.recording * APART + middle, "right") - 1
    first = np.searchsorted(rows.recording, windows.recording)  # if the first code starts too late
    return order[np.maximum(place, first)]


def student(model: keras.Model, dimensions: int) -> keras.Model:
    """A classifier (emotion_heads.classifier) with one more output; it shares the layers.

    Returns (batch, n_mels, frames, 1) -> {task: probabilities, NAME: (batch, dimensions)}.
    """
    inputs = keras.Input(model.input_shape[1:], name="log_mel")
    code = model.get_layer("encoder")(inputs)
    outputs = dict(model.get_layer("heads")(code))
    outputs[NAME] = keras.layers.Dense(dimensions, name=NAME)(code)
    return keras.Model(inputs, outputs, name=model.name)
