"""The emotion heads: multi-task classification of a window's code (ICASSP 2021 sec. 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np


@dataclass(frozen=True)
class HeadSizes:
    """Dense layers that all tasks share, then each task's own; defaults of the released models."""

    units: int = 512  # of every dense layer; the paper gives 256 for each task's own
    shared: int = 3  # layers of all tasks
    own: int = 2  # layers of each task
    dropout: float = 0.25  # rate between them; before the softmax of a task without own layers
    code_dropout: float = 0.0  # rate on the code


RELEASED = HeadSizes()


def build(
    dimensions: int, tasks: Mapping[str, Sequence[str]], sizes: HeadSizes = RELEASED
) -> keras.Model:
    """Heads: code (batch, dimensions) -> {task: probabilities (batch, classes)}."""

    def stack(x: keras.KerasTensor, name: str, layers: int, drops: int) -> keras.KerasTensor:
        for i in range(1, layers + 1):
            x = keras.layers.Dense(sizes.units, activation="relu", name=f"{name}_fc{i}")(x)
            if i <= drops:
                x = keras.layers.Dropout(sizes.dropout, name=f"{name}_d{i}")(x)
        return x

    x = inputs = keras.Input((dimensions,), name="code")
    if sizes.code_dropout:
        x = keras.layers.Dropout(sizes.code_dropout, name="code_d")(x)
    x = stack(x, "shared", sizes.shared, sizes.shared - 1 if sizes.own else sizes.shared)
    outputs = {}
    for task, classes in tasks.items():
        y = stack(x, task, sizes.own, sizes.own - 1)
        outputs[task] = keras.layers.Dense(len(classes), activation="softmax", name=task)(y)
    return keras.Model(inputs, outputs, name="heads")


def classifier(encoder: keras.Model, heads: keras.Model) -> keras.Model:
    """Encoder and heads in one: (batch, n_mels, frames, 1) -> {task: probabilities}.

    Its layers are named "encoder" and "heads", however the encoder was pretrained.
    """
    encoder = keras.Model(encoder.input, encoder.output, name="encoder")
    inputs = keras.Input(encoder.input_shape[1:], name="log_mel")
    return keras.Model(inputs, heads(encoder(inputs)), name="emotion_classifier")


def code_classifier(mean: np.ndarray, deviation: np.ndarray, heads: keras.Model) -> keras.Model:
    """Standardisation of codes, then heads: (batch, d) -> {task: probabilities}.

    mean, deviation : float (d,), deviation above 0; they set the weights of "standardise"
    """
    inputs = keras.Input(mean.shape, name="code")
    layer = keras.layers.Normalization(name="standardise")
    codes = layer(inputs)
    layer.set_weights([mean, np.square(deviation), np.int64(0)])
    layer.finalize_state()
    return keras.Model(inputs, heads(codes), name="emotion_classifier")
