"""CNN baseline (`model_cnn`): the encoder trained from scratch on music (ICASSP 2021 sec. 3.3)."""

from __future__ import annotations

import keras

from lib.models.convolutional_blocks import trunk


def build_encoder(
    *, n_mels: int = 128, frames: int = 31, dropout: float = 0.25, momentum: float = 0.7
) -> keras.Model:
    """Encoder (batch, n_mels, frames, 1) -> code (batch, n_mels / 64 * frames * 128)."""
    inputs = keras.Input((n_mels, frames, 1), name="log_mel")
    x = trunk(inputs, pools=(4, 4, 4), dropout=dropout, momentum=momentum)
    return keras.Model(inputs, keras.layers.Flatten(name="code")(x), name="cnn_encoder")
