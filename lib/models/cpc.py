"""CPC, contrastive predictive coding (`model_cpc`; ICASSP 2021 sec. 3.2.2, van den Oord 2018).

Follows the Keras implementation by David Tellez, on which the authors' code is based.
"""

from __future__ import annotations

import keras

from lib.models.convolutional_blocks import PUBLISHED, Sizes, trunk


def build_encoder(sizes: Sizes = PUBLISHED, code: int = 256) -> keras.Model:
    """Encoder (batch, n_mels, frames, 1) -> code (batch, `code`)."""
    inputs = keras.Input((sizes.n_mels, sizes.frames, 1), name="log_mel")
    x = trunk(inputs, (4, 4, 2), sizes)
    x = keras.layers.Flatten(name="flat")(x)
    x = keras.layers.Dense(code, activation="relu", name="fc1")(x)
    x = keras.layers.BatchNormalization(momentum=sizes.momentum, name="fc1_b1")(x)
    outputs = keras.layers.Dense(code, name="code")(x)
    return keras.Model(inputs, outputs, name="cpc_encoder")


def build(
    sizes: Sizes = PUBLISHED,
    *,
    past: int = 4,
    future: int = 2,
    code: int = 256,
    context: int = 256,
) -> tuple[keras.Model, keras.Model]:
    """The contrastive model and its encoder, sharing weights.

    The model maps sequences (batch, past + future, n_mels, frames, 1) to the probability
    (batch, 1) that the last `future` windows follow the first `past`. The score is the logistic of
    prediction times code, averaged over dimensions and over future windows.

    Returns (model, encoder).
    """
    encoder = build_encoder(sizes, code)
    length, window = past + future, (sizes.n_mels, sizes.frames, 1)
    inputs = keras.Input((length, *window), name="sequence")
    codes = encoder(keras.ops.reshape(inputs, (-1, *window)))
    codes = keras.ops.reshape(codes, (-1, length * code))
    codes = keras.layers.Reshape((length, code), name="codes")(codes)
    summary = keras.layers.GRU(context, name="context")(codes[:, :past])
    predictions = keras.ops.stack(
        [keras.layers.Dense(code, name=f"predict_{k + 1}")(summary) for k in range(future)], axis=1
    )
    agreement = keras.ops.mean(predictions * codes[:, past:], axis=(1, 2), keepdims=False)
    score = keras.layers.Activation("sigmoid", name="follows")(agreement[:, None])
    return keras.Model(inputs, score, name="cpc"), encoder
