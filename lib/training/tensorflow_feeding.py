"""Batches into the steps of a training, without cost beside the steps.

Keras hands Python's batches to TensorFlow through tf.data, whose iterators at times make every step
of an epoch wait: an epoch of a small network then took up to three times as long. Here TensorFlow's
steps take the batches directly, and the next one is loaded while a step runs. The other backends
iterate over batches in plain Python.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import keras

from lib.training.batches import Batches


def feed(model: keras.Model, train: Batches, valid: Batches) -> tuple:
    """Prepare a compiled model; returns what keras.Model.fit takes for training and validation."""
    if keras.backend.backend() != "tensorflow":
        return train, valid
    import tensorflow as tf

    def function(step: Callable, batches: Batches) -> Callable:
        compiled = tf.function(step, jit_compile=model.jit_compile, reduce_retracing=True)
        ahead = _Ahead(batches, tf.convert_to_tensor)
        return lambda _: compiled(ahead.batch())

    # Keras makes these itself where they are not there yet, and calls them once per batch
    model.train_function = function(model.train_step, train)
    model.test_function = function(model.test_step, valid)
    # which tells Keras how many there are; it is not read
    return tuple(tf.data.Dataset.range(len(batches)) for batches in (train, valid))


class _Ahead:
    """The batches of one epoch after the other, as tensors; the next is loaded meanwhile."""

    def __init__(self, batches: Batches, convert: Callable):
        self.batches, self.convert = batches, convert
        self.number, self.loader = 0, ThreadPoolExecutor(1)
        self.next: Future | None = None

    def batch(self):
        """The next batch. The first of an epoch is not loaded before it is asked for, since its
        number must be known."""
        batch = self.next.result() if self.next else self._load(self.number)
        self.number = (self.number + 1) % len(self.batches)
        self.next = self.loader.submit(self._load, self.number) if self.number else None
        return batch

    def _load(self, number: int):
        return keras.tree.map_structure(self.convert, self.batches[number])
