"""The convolutional trunk of the published encoders (Han 2016, as in ICASSP 2021 sec. 3.2).

A block is conv 3x3 ReLU, batch norm, conv 3x3 ReLU, batch norm, max-pool along mel only, dropout.
Layers have the same names as in the released models (b1_c1, …).
"""

from __future__ import annotations

from dataclasses import dataclass

import keras

CHANNELS, TIME = -1, 2  # axes of (batch, mel, time, maps) that batch norm may keep


@dataclass(frozen=True)
class Sizes:
    """Sizes and rates that every encoder is built with."""

    n_mels: int = 128  # of a window
    frames: int = 31  # of a window
    maps: tuple[int, int, int] = (32, 64, 128)  # of the three blocks or convolutions
    dropout: float = 0.25  # rate after each of them
    momentum: float = 0.7  # of batch norm's moving statistics
    norm_axis: int = CHANNELS  # of batch norm; TIME for weights of the released models


PUBLISHED = Sizes()


def trunk(
    inputs: keras.KerasTensor, pools: tuple[int, int, int], sizes: Sizes
) -> keras.KerasTensor:
    """Input batch norm and three blocks.

    inputs : (batch, n_mels, frames, 1), natural-log magnitude
    pools  : pooling factor along mel of each block; their product must divide n_mels

    Returns (batch, n_mels / product of pools, frames, maps of the last block).
    """

    def normalised(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        norm = keras.layers.BatchNormalization(sizes.norm_axis, sizes.momentum, name=name)
        return norm(x)

    x = normalised(inputs, "b1_b1")
    for i, (maps, pool) in enumerate(zip(sizes.maps, pools, strict=True), start=1):
        for j in (1, 2):
            conv = keras.layers.Conv2D(
                maps, 3, padding="same", activation="relu", name=f"b{i}_c{j}"
            )
            x = normalised(conv(x), f"b{i}_b{j + 1 if i == 1 else j}")
        x = keras.layers.MaxPooling2D((pool, 1), name=f"b{i}_mp1")(x)
        x = keras.layers.Dropout(sizes.dropout, name=f"b{i}_d1")(x)
    return x
