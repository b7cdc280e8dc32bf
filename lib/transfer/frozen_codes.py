"""Codes of windows by a frozen encoder: computed once, kept where there is room for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import keras
import numpy as np

from lib.console import say
from lib.datasets.windows import Windows, budget
from lib.features.frame_packing import digest
from lib.training import batches, hardware
from lib.transfer.code_cache import Cache


def codes(
    windows: Windows,
    name: str,
    encoder: keras.Model,
    identity: str,
    folder: Path,
    training: Mapping,
    size: int,
) -> batches.Take:
    """What gives the codes of windows: computed once, as in predicting, without dropout and with
    fixed statistics. They are kept beside the data set, or else in memory; where they fit into
    neither, they are computed when asked for.

    Parameters
    ----------
    windows, name : what is encoded, and how messages call it
    encoder, identity : of it: the hash of its file, or as of `identity`
    folder : of the data set
    training : section `training` of the settings
    size : windows per step
    """
    encoder = hardware.for_prediction(encoder, training["predict_dtype"])
    cache = Cache(folder, training["codes_gb"] * 1e9)
    of = {
        "encoder": identity,
        "windows": windows.sha256,
        "backend": keras.backend.backend(),
        "dtype": training["predict_dtype"],
    }
    shape = (len(windows), encoder.output_shape[-1])
    found = cache.get(of, shape)
    if found is None and cache.put(of, _blocks(encoder, windows, size), shape):
        found = cache.get(of, shape)
    if found is None and 4 * shape[0] * shape[1] <= budget(training["memory_gb"]):
        # from the first window on: a disk that failed late has taken some already
        found = np.concatenate(list(_blocks(encoder, windows, size)))
    if found is None:
        say(f"codes of {name} are computed in every epoch: too many for memory and codes_gb")
        return lambda chosen: encoder.predict_on_batch(windows.take(chosen))
    return found.__getitem__


def identity(encoder: keras.Model) -> str:
    """A digest of the weights of an encoder that has no file."""
    return digest(np.concatenate([weights.ravel() for weights in encoder.get_weights()]))


def _blocks(encoder: keras.Model, windows: Windows, size: int) -> Iterator[np.ndarray]:
    """Codes of all windows, `size` at a time."""
    inputs = batches.Inputs(windows.take, len(windows), size)
    for number in range(len(inputs)):
        found = np.asarray(encoder.predict_on_batch(inputs[number][0]))
        yield found[: len(windows) - number * inputs.size]
