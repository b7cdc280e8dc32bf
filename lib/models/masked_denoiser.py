"""A denoiser that restores hidden parts of a window (`model_over_mask`).

Patches of the spectrogram are hidden (He 2022; for audio Huang 2022). The network restores them
from the rest, through one latent per two frames: with the default settings 4096 values per window,
against 7936 of `model_over`.
"""

from __future__ import annotations

import keras

from lib.models import framewise_encoder
from lib.models.convolutional_blocks import PUBLISHED, Sizes
from lib.models.framewise_encoder import LEVEL, SCALE, STRIDE


def build(sizes: Sizes = PUBLISHED, latent: int = 256) -> tuple[keras.Model, keras.Model]:
    """The autoencoder and its encoder, sharing weights.

    Returns (model, encoder): model maps windows to windows, float32 (batch, n_mels, frames, 1).
    """
    latents, frames = framewise_encoder.build_latents(sizes, latent), sizes.frames
    inputs = keras.Input((sizes.n_mels, frames, 1), name="masked_log_mel")
    x = keras.layers.UpSampling1D(STRIDE, name="every_frame")(latents(inputs))
    x = keras.layers.Reshape((-(-frames // STRIDE) * STRIDE, latent))(x)
    x = keras.layers.Conv1D(latent, 3, padding="same", activation="relu", name="decoder1")(x)
    x = keras.layers.Conv1D(latent, 3, padding="same", activation="relu", name="decoder2")(x)
    x = keras.layers.Dense(sizes.n_mels, name="bands")(x[:, :frames])
    x = keras.layers.Permute((2, 1), name="mel_first")(x)
    x = keras.layers.Reshape((sizes.n_mels, frames, 1), name="maps")(x)
    outputs = keras.layers.Rescaling(SCALE, LEVEL, name="restored_log_mel")(x)
    model = keras.Model(inputs, outputs, name="masked")
    return model, framewise_encoder.encoder(latents, frames)
