"""CPC, contrastive predictive coding (`model_cpc`; ICASSP 2021 sec. 3.2.2, van den Oord 2018).

After the Keras implementation by David Tellez, on which the original's was based.
"""

from __future__ import annotations

import keras

from lib.models.convolutional_blocks import CHANNELS, trunk


def build_encoder(
    *,
    n_mels: int = 128,
    frames: int = 31,
    code: int = 256,
    dropout: float = 0.25,
    momentum: float = 0.7,
    norm_axis: int = CHANNELS,
) -> keras.Model:
    """Encoder (batch, n_mels, frames, 1) -> code (batch, `code`)."""
    inputs = keras.Input((n_mels, frames, 1), name="log_mel")
    x = trunk(inputs, pools=(4, 4, 2), dropout=dropout, momentum=momentum, norm_axis=norm_axis)
    x = keras.layers.Flatten(name="flat")(x)
    x = keras.layers.Dense(code, activation="relu", name="fc1")(x)
    x = keras.layers.BatchNormalization(momentum=momentum, name="fc1_b1")(x)
    outputs = keras.layers.Dense(code, name="code")(x)
    return keras.Model(inputs, outputs, name="cpc_encoder")


def build(
    *,
    n_mels: int = 128,
    frames: int = 31,
    past: int = 4,
    future: int = 2,
    code: int = 256,
    context: int = 256,
    dropout: float = 0.25,
    momentum: float = 0.7,
) -> tuple[keras.Model, keras.Model]:
    """The contrastive model and its encoder, sharing weights.

    The model maps sequences (batch, past + future, n_mels, frames, 1) to the probability
    (batch, 1) that the last `future` windows follow the first `past`. The score is the logistic of
    prediction times code, averaged over dimensions and over future windows.

    Returns (model, encoder).
    """
    encoder = build_encoder(
        n_mels=n_mels, frames=frames, code=code, dropout=dropout, momentum=momentum
    )
    length = past + future
    inputs = keras.Input((length, n_mels, frames, 1), name="sequence")
    windows = keras.ops.reshape(inputs, (-1, n_mels, frames, 1))
    codes = keras.layers.Reshape((length, code), name="codes")(
        keras.ops.reshape(encoder(windows), (-1, length * code))
    )
    summary = keras.layers.GRU(context, name="context")(codes[:, :past])
    predictions = keras.ops.stack(
        [keras.layers.Dense(code, name=f"predict_{k + 1}")(summary) for k in range(future)], axis=1
    )
    agreement = keras.ops.mean(predictions * codes[:, past:], axis=(1, 2), keepdims=False)
    score = keras.layers.Activation("sigmoid", name="follows")(agreement[:, None])
    return keras.Model(inputs, score, name="cpc"), encoder
