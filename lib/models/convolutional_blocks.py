"""The convolutional trunk that all encoders share (Han 2016 by way of ICASSP 2021 sec. 3.2).

Input : float32 (batch, n_mels, frames, 1), natural-log magnitude. A block is conv 3x3 ReLU, batch
norm, conv 3x3 ReLU, batch norm, max-pool along mel only, dropout; three blocks of 32, 64 and 128
maps. Layers carry the names of the released models (b1_c1, …). Batch norm is over channels; over
time, as in the released models, for their weights alone.
"""

from __future__ import annotations

import keras

WIDTHS = (32, 64, 128)
CHANNELS, TIME = -1, 2  # axes of (batch, mel, time, maps) that batch norm may keep


def trunk(
    inputs: keras.KerasTensor,
    *,
    pools: tuple[int, int, int],
    dropout: float,
    momentum: float,
    norm_axis: int = CHANNELS,
) -> keras.KerasTensor:
    """Input batch norm and three blocks.

    Parameters
    ----------
    inputs : (batch, n_mels, frames, 1)
    pools : pooling factor along mel of each block; their product must divide n_mels
    dropout : rate after each block
    momentum : of batch norm's moving statistics
    norm_axis : CHANNELS, or TIME for weights of the released models

    Returns (batch, n_mels / product of pools, frames, 128).
    """

    def normalised(x, name):
        return keras.layers.BatchNormalization(norm_axis, momentum=momentum, name=name)(x)

    x = normalised(inputs, "b1_b1")
    for i, (width, pool) in enumerate(zip(WIDTHS, pools, strict=True), start=1):
        for j in (1, 2):
            norm = f"b{i}_b{j + 1}" if i == 1 else f"b{i}_b{j}"
            x = keras.layers.Conv2D(width, 3, padding="same", activation="relu", name=f"b{i}_c{j}")(
                x
            )
            x = normalised(x, norm)
        x = keras.layers.MaxPooling2D((pool, 1), name=f"b{i}_mp1")(x)
        x = keras.layers.Dropout(dropout, name=f"b{i}_d1")(x)
    return x
