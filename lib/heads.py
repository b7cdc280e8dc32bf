"""The emotion heads: multi-task classification of a window's code (ICASSP 2021 sec. 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras


def build(
    dimensions: int,
    tasks: Mapping[str, Sequence[str]],
    *,
    units: int = 512,
    dropout: float = 0.25,
) -> keras.Model:
    """Heads: code (batch, dimensions) -> {task: probabilities (batch, classes)}.

    Three shared dense layers, then two per task. The paper prints 256 units for the latter; the
    released models have 512 throughout.
    """
    inputs = keras.Input((dimensions,), name="code")

    def dense(x, name):
        return keras.layers.Dense(units, activation="relu", name=name)(x)

    def drop(x, name):
        return keras.layers.Dropout(dropout, name=name)(x)

    x = drop(dense(inputs, "shared_fc1"), "shared_d1")
    x = drop(dense(x, "shared_fc2"), "shared_d2")
    x = dense(x, "shared_fc3")
    outputs = {}
    for task, classes in tasks.items():
        y = drop(dense(x, f"{task}_fc1"), f"{task}_d1")
        y = dense(y, f"{task}_fc2")
        outputs[task] = keras.layers.Dense(len(classes), activation="softmax", name=task)(y)
    return keras.Model(inputs, outputs, name="heads")


def classifier(encoder: keras.Model, heads: keras.Model) -> keras.Model:
    """Encoder and heads in one: (batch, n_mels, frames, 1) -> {task: probabilities}.

    Inside they are the layers "encoder" and "heads", whatever pretrained the encoder.
    """
    encoder = keras.Model(encoder.input, encoder.output, name="encoder")
    inputs = keras.Input(encoder.input_shape[1:], name="log_mel")
    return keras.Model(inputs, heads(encoder(inputs)), name="emotion_classifier")
