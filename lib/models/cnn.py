"""CNN baseline (`model_cnn`): the encoder trained from scratch on music (ICASSP 2021 sec. 3.3)."""

from __future__ import annotations

import keras

from lib.models.convolutional_blocks import PUBLISHED, Sizes, trunk


def build_encoder(sizes: Sizes = PUBLISHED) -> keras.Model:
    """Encoder (batch, n_mels, frames, 1) -> code (batch, n_mels / 64 * frames * maps)."""
    inputs = keras.Input((sizes.n_mels, sizes.frames, 1), name="log_mel")
    x = trunk(inputs, (4, 4, 4), sizes)
    return keras.Model(inputs, keras.layers.Flatten(name="code")(x), name="cnn_encoder")
