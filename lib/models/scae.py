"""SCAE, the sparse convolutional denoising autoencoder (`model_over`; ICASSP 2021 sec. 3.2.1)."""

from __future__ import annotations

import keras

from lib.models.convolutional_blocks import CHANNELS, WIDTHS, trunk


def build_encoder(
    *,
    n_mels: int = 128,
    frames: int = 31,
    dropout: float = 0.25,
    momentum: float = 0.7,
    norm_axis: int = CHANNELS,
) -> keras.Model:
    """Encoder (batch, n_mels, frames, 1) -> code (batch, n_mels / 64 * frames * 128).

    Three blocks that pool mel by 4, 4 and 2, a last pooling by 2, flattened.
    """
    inputs = keras.Input((n_mels, frames, 1), name="log_mel")
    x = trunk(inputs, pools=(4, 4, 2), dropout=dropout, momentum=momentum, norm_axis=norm_axis)
    x = keras.layers.MaxPooling2D((2, 1), name="encod")(x)
    code = keras.layers.Flatten(name="code")(x)
    return keras.Model(inputs, code, name="scae_encoder")


def build(
    *,
    n_mels: int = 128,
    frames: int = 31,
    dropout: float = 0.25,
    momentum: float = 0.7,
    output_mean: float = 0.0,
    output_scale: float = 1.0,
) -> tuple[keras.Model, keras.Model]:
    """The autoencoder and its encoder, sharing weights.

    Parameters
    ----------
    n_mels, frames : size of a window
    dropout : rate after each block
    momentum : of batch norm's moving statistics
    output_mean, output_scale : where the last batch norm starts. Its input is a sigmoid, so it
        alone gives the output its range; 0 and 1 is the released system, the mean and standard
        deviation of the clean log-mel values spare the epochs of finding them.

    Returns (model, encoder): model maps windows to windows, float32 (batch, n_mels, frames, 1).
    """
    encoder = build_encoder(n_mels=n_mels, frames=frames, dropout=dropout, momentum=momentum)
    inputs = keras.Input((n_mels, frames, 1), name="noisy_log_mel")
    x = keras.layers.Reshape((n_mels // 64, frames, WIDTHS[-1]), name="maps")(encoder(inputs))
    x = keras.layers.UpSampling2D((2, 1), name="decod")(x)
    # (width, number of layers, upsampling) of the mirrored blocks; the last layer stands apart
    for i, (width, layers, up) in enumerate(((128, 2, 2), (64, 2, 4), (32, 1, 4)), start=4):
        x = keras.layers.UpSampling2D((up, 1), name=f"b{i}_up1")(x)
        for j in range(1, layers + 1):
            x = keras.layers.Conv2DTranspose(
                width, 3, padding="same", activation="relu", name=f"b{i}_c{j}"
            )(x)
            x = keras.layers.BatchNormalization(momentum=momentum, name=f"b{i}_b{j}")(x)
        if i < 6:
            x = keras.layers.Dropout(dropout, name=f"b{i}_d1")(x)
    x = keras.layers.Conv2DTranspose(1, 3, padding="same", activation="sigmoid", name="b6_c2")(x)
    outputs = keras.layers.BatchNormalization(
        momentum=momentum,
        beta_initializer=keras.initializers.Constant(output_mean),
        gamma_initializer=keras.initializers.Constant(output_scale),
        name="denoised_log_mel",
    )(x)
    return keras.Model(inputs, outputs, name="scae"), encoder
