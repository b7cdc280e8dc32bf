"""The emotion heads: multi-task classification of a window's code (ICASSP 2021 sec. 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras


def build(
    dimensions: int,
    tasks: Mapping[str, Sequence[str]],
    *,
    units: int = 512,
    shared: int = 3,
    own: int = 2,
    dropout: float = 0.25,
    code_dropout: float = 0.0,
) -> keras.Model:
    """Heads: code (batch, dimensions) -> {task: probabilities (batch, classes)}.

    Dense layers that all tasks share, then each task's own. The paper prints 256 units for the
    latter; the released models have 512 throughout.

    Parameters
    ----------
    units, shared, own : of every dense layer, and how many there are; three and two as published
    dropout : rate between them, and before the softmax where a task has no layer of its own
    code_dropout : rate on the code
    """
    inputs = keras.Input((dimensions,), name="code")

    def dense(x, name):
        return keras.layers.Dense(units, activation="relu", name=name)(x)

    def drop(x, name):
        return keras.layers.Dropout(dropout, name=name)(x)

    def stack(x, name, layers, last=False):
        for i in range(1, layers + 1):
            x = dense(x, f"{name}_fc{i}")
            x = drop(x, f"{name}_d{i}") if last or i < layers else x
        return x

    x = keras.layers.Dropout(code_dropout, name="code_d")(inputs) if code_dropout else inputs
    x = stack(x, "shared", shared, last=not own)
    outputs = {}
    for task, classes in tasks.items():
        y = stack(x, task, own)
        outputs[task] = keras.layers.Dense(len(classes), activation="softmax", name=task)(y)
    return keras.Model(inputs, outputs, name="heads")


def classifier(encoder: keras.Model, heads: keras.Model) -> keras.Model:
    """Encoder and heads in one: (batch, n_mels, frames, 1) -> {task: probabilities}.

    Inside they are the layers "encoder" and "heads", whatever pretrained the encoder.
    """
    encoder = keras.Model(encoder.input, encoder.output, name="encoder")
    inputs = keras.Input(encoder.input_shape[1:], name="log_mel")
    return keras.Model(inputs, heads(encoder(inputs)), name="emotion_classifier")
