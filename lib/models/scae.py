"""SCAE, the sparse convolutional denoising autoencoder (`model_over`; ICASSP 2021 sec. 3.2.1)."""

from __future__ import annotations

import keras

from lib.models.convolutional_blocks import PUBLISHED, Sizes, trunk


def build_encoder(sizes: Sizes = PUBLISHED) -> keras.Model:
    """Encoder (batch, n_mels, frames, 1) -> code (batch, n_mels / 64 * frames * maps)."""
    inputs = keras.Input((sizes.n_mels, sizes.frames, 1), name="log_mel")
    x = trunk(inputs, (4, 4, 2), sizes)
    x = keras.layers.MaxPooling2D((2, 1), name="encod")(x)
    return keras.Model(inputs, keras.layers.Flatten(name="code")(x), name="scae_encoder")


def build(
    sizes: Sizes = PUBLISHED, output_mean: float = 0.0, output_scale: float = 1.0
) -> tuple[keras.Model, keras.Model]:
    """The autoencoder and its encoder, sharing weights.

    output_mean, output_scale : initial offset and scale of the last batch norm. Its input is a
        sigmoid, so it alone sets the range of the output. The released system has 0 and 1; the mean
        and standard deviation of the clean log-mel values save the epochs of learning them.

    Returns (model, encoder): model maps windows to windows, float32 (batch, n_mels, frames, 1).
    """
    encoder = build_encoder(sizes)
    inputs = keras.Input((sizes.n_mels, sizes.frames, 1), name="noisy_log_mel")
    shape = (sizes.n_mels // 64, sizes.frames, sizes.maps[-1])
    x = keras.layers.Reshape(shape, name="maps")(encoder(inputs))
    x = keras.layers.UpSampling2D((2, 1), name="decod")(x)
    for i, maps, up in zip((4, 5, 6), reversed(sizes.maps), (2, 4, 4), strict=True):
        x = keras.layers.UpSampling2D((up, 1), name=f"b{i}_up1")(x)
        for j in (1, 2) if i < 6 else (1,):
            x = _transposed_conv(x, maps, "relu", f"b{i}_c{j}")
            x = keras.layers.BatchNormalization(momentum=sizes.momentum, name=f"b{i}_b{j}")(x)
        if i < 6:
            x = keras.layers.Dropout(sizes.dropout, name=f"b{i}_d1")(x)
    x = _transposed_conv(x, 1, "sigmoid", "b6_c2")
    outputs = keras.layers.BatchNormalization(
        momentum=sizes.momentum,
        beta_initializer=keras.initializers.Constant(output_mean),
        gamma_initializer=keras.initializers.Constant(output_scale),
        name="denoised_log_mel",
    )(x)
    return keras.Model(inputs, outputs, name="scae"), encoder


def _transposed_conv(
    x: keras.KerasTensor, maps: int, activation: str, name: str
) -> keras.KerasTensor:
    layer = keras.layers.Conv2DTranspose(maps, 3, padding="same", activation=activation, name=name)
    return layer(x)
