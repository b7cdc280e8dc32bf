"""Codes of windows from a frozen encoder: computed once, and kept on disk or in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from lib.console import say
from lib.datasets.windows import Windows, memory_limit
from lib.features.frame_packing import digest
from lib.training import batches, hardware
from lib.transfer.code_cache import Cache


@dataclass(frozen=True)
class FrozenEncoder:
    """An encoder whose codes are computed once.

    identity : the hash of its file, or the digest from `identity`
    folder   : of the data set, next to which codes are kept
    training : section `training` of the settings
    size     : windows per step
    """

    encoder: keras.Model
    identity: str
    folder: Path
    training: Mapping
    size: int

    def codes(self, windows: Windows, name: str) -> batches.Take:
        """A function that gives the codes of windows, float32 (n, d), of the encoder in inference
        mode; `name` stands for the windows in messages.

        Codes are kept next to the data set, else in memory; if they fit in neither, they are
        computed when they are needed.
        """
        encoder = hardware.for_prediction(self.encoder, self.training["predict_dtype"])
        cache = Cache(self.folder, self.training["codes_gb"] * 1e9)
        key = {
            "encoder": self.identity,
            "windows": windows.sha256,
            "backend": keras.backend.backend(),
            "dtype": self.training["predict_dtype"],
        }
        shape = (len(windows), encoder.output_shape[-1])
        kept = cache.get(key, shape)
        if kept is None and cache.put(key, _blocks(encoder, windows, self.size), shape):
            kept = cache.get(key, shape)
        if kept is None and 4 * shape[0] * shape[1] <= memory_limit(self.training["memory_gb"]):
            # all of them again: put may have failed after it had used some blocks
            kept = np.concatenate(list(_blocks(encoder, windows, self.size)))
        if kept is None:
            say(f"codes of {name} are computed in every epoch: too many for memory and codes_gb")
            return lambda batch: encoder.predict_on_batch(windows.take(batch))
        return kept.__getitem__


def identity(encoder: keras.Model) -> str:
    """A digest of the weights of an encoder that has no file."""
    return digest(np.concatenate([weights.ravel() for weights in encoder.get_weights()]))


def _blocks(encoder: keras.Model, windows: Windows, size: int) -> Iterator[np.ndarray]:
    """Codes of all windows, `size` at a time."""
    inputs = batches.Inputs(windows.take, len(windows), size)
    for number in range(len(inputs)):
        codes = np.asarray(encoder.predict_on_batch(inputs[number][0]))
        yield codes[: len(windows) - number * size]
