"""A light encoder that keeps the time axis: a latent per two frames, averaged at the end.

For `model_cpc_nce` and `model_over_mask`, and the same network from scratch. Three strided
convolutions cover mel and a few frames; then all mel bands of a frame form one latent. Layer norm
(Ba 2016) works on the maps at one mel position and frame, so that it carries nothing from other
windows or later frames into a latent (van den Oord 2018 uses no norm; Rivière 2020 finds that batch
norm leaks). A code is the mean over time of a window's rectified latents, not flattened, so that
heads stay small.

Input : float32 (batch, n_mels, frames, 1), natural-log magnitude, of any number of frames.
"""

from __future__ import annotations

import keras

from lib.models.convolutional_blocks import PUBLISHED, Sizes

STRIDE = 2  # frames per latent
# kernel and stride along mel and time of each convolution; mel is reduced 32-fold in all
SHAPES = (((8, 3), (4, 1)), ((4, 3), (4, STRIDE)), ((4, 3), (2, 1)))
# [ours] about the mean and scale of the log-mel of speech (-4.0, 2.1) and music (-2.6, 2.0)
LEVEL, SCALE = -3.3, 2.1


def build_latents(sizes: Sizes, latent: int) -> keras.Model:
    """Latents by frame: (batch, n_mels, frames, 1) -> (batch, ceil(frames / STRIDE), latent)."""
    inputs = keras.Input((sizes.n_mels, None, 1), name="log_mel")
    x = keras.layers.Rescaling(1 / SCALE, -LEVEL / SCALE, name="standard")(inputs)
    for i, (maps, (kernel, stride)) in enumerate(zip(sizes.maps, SHAPES, strict=True), start=1):
        x = keras.layers.Conv2D(maps, kernel, stride, padding="same", name=f"c{i}")(x)
        x = keras.layers.LayerNormalization(name=f"n{i}")(x)
        x = keras.layers.Activation("relu", name=f"a{i}")(x)
        x = keras.layers.Dropout(sizes.dropout, name=f"d{i}")(x)
    x = keras.layers.Permute((2, 1, 3), name="time_first")(x)
    x = keras.layers.Reshape((-1, sizes.n_mels // 32 * sizes.maps[-1]), name="frame")(x)
    x = keras.layers.Dense(latent, name="fc")(x)
    outputs = keras.layers.LayerNormalization(name="latent")(x)
    return keras.Model(inputs, outputs, name="latents")


def encoder(latents: keras.Model, frames: int) -> keras.Model:
    """Encoder (batch, n_mels, frames, 1) -> code (batch, latent), sharing weights."""
    inputs = keras.Input((latents.input_shape[1], frames, 1), name="log_mel")
    x = keras.layers.Activation("relu", name="rectified")(latents(inputs))
    code = keras.layers.GlobalAveragePooling1D(name="code")(x)
    return keras.Model(inputs, code, name="framewise_encoder")


def build_encoder(sizes: Sizes = PUBLISHED, latent: int = 256) -> keras.Model:
    """The encoder with weights of its own: (batch, n_mels, frames, 1) -> (batch, latent)."""
    return encoder(build_latents(sizes, latent), sizes.frames)
