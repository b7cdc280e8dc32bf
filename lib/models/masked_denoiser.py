"""A denoiser that has to infer what it does not see (`model_over_mask`).

Patches of the spectrogram are hidden (He 2022; for audio Huang 2022) and have to be restored from
the rest, by way of latents of every other frame: a tighter code than that of `model_over`, which
can copy.
"""

from __future__ import annotations

import keras

from lib.models import framewise_encoder


def build(
    *, n_mels: int = 128, frames: int = 31, latent: int = 256, dropout: float = 0.25
) -> tuple[keras.Model, keras.Model]:
    """The autoencoder and its encoder, sharing weights.

    Returns (model, encoder): model maps windows to windows, float32 (batch, n_mels, frames, 1).
    """
    each = framewise_encoder.latents(n_mels=n_mels, latent=latent, dropout=dropout)
    inputs = keras.Input((n_mels, frames, 1), name="masked_log_mel")
    x = keras.layers.UpSampling1D(framewise_encoder.STRIDE, name="every_frame")(each(inputs))
    x = keras.layers.Reshape(
        (-(-frames // framewise_encoder.STRIDE) * framewise_encoder.STRIDE, latent)
    )(x)
    x = keras.layers.Conv1D(latent, 3, padding="same", activation="relu", name="decoder1")(x)
    x = keras.layers.Conv1D(latent, 3, padding="same", activation="relu", name="decoder2")(x)
    x = keras.layers.Dense(n_mels, name="bands")(x[:, :frames])
    x = keras.layers.Permute((2, 1), name="mel_first")(x)
    x = keras.layers.Reshape((n_mels, frames, 1), name="maps")(x)
    outputs = keras.layers.Rescaling(
        framewise_encoder.SCALE, framewise_encoder.LEVEL, name="restored_log_mel"
    )(x)
    return keras.Model(inputs, outputs, name="masked"), framewise_encoder.encoder(
        each, frames=frames
    )
