"""Batches into the steps of a training, without cost beside the steps.

Keras hands Python's batches to TensorFlow through tf.data's generators, whose threads take up to
twice the time of a step of a small network away from it (docs/RESULTS.md). Here TensorFlow's steps
take the batches directly, and the next one is loaded while a step runs. The other backends iterate
over batches in plain Python.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import keras

from lib.batches import Batches


def feed(model: keras.Model, train: Batches, valid: Batches) -> tuple:
    """Prepare a compiled model; returns what keras.Model.fit takes for training and validation."""
    if keras.backend.backend() != "tensorflow":
        return train, valid
    import tensorflow as tf

    def function(step: Callable, batches: Batches) -> Callable:
        compiled = tf.function(step, jit_compile=model.jit_compile, reduce_retracing=True)
        loaded = _Ahead(batches, tf.convert_to_tensor)
        return lambda numbers: compiled(loaded[int(next(numbers))])

    # Keras makes these itself where they are not there yet
    model.train_function = function(model.train_step, train)
    model.test_function = function(model.test_step, valid)
    return tuple(tf.data.Dataset.range(len(batches)) for batches in (train, valid))


class _Ahead:
    """Batches as tensors, in order; the one after is loaded meanwhile."""

    def __init__(self, batches: Batches, convert: Callable):
        self.batches, self.convert = batches, convert
        self.loader, self.next = ThreadPoolExecutor(1), (None, Future())

    def __getitem__(self, number: int):
        there, waiting = self.next
        batch = waiting.result() if there == number else self._load(number)
        after = number + 1
        if after < len(self.batches):
            self.next = after, self.loader.submit(self._load, after)
        else:
            self.next = None, Future()
        return batch

    def _load(self, number: int):
        return keras.tree.map_structure(self.convert, self.batches[number])
