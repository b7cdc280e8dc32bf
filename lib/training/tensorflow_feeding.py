"""Feed batches to the steps of a training, without extra time.

Keras passes Python batches to TensorFlow through tf.data, whose iterators sometimes delay every
step of an epoch: an epoch of a small network then took up to three times as long. Here TensorFlow's
steps take the batches directly, and the next one is loaded while a step runs. The other backends
iterate over batches in plain Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import keras

from lib.training.batches import Batches


def feed(model: keras.Model, train: Batches, valid: Batches) -> tuple:
    """Prepare a compiled model; returns what keras.Model.fit takes for training and validation."""
    if keras.backend.backend() != "tensorflow":
        return train, valid
    import tensorflow as tf

    def function(step: Callable, batches: Batches) -> Callable:
        compiled = tf.function(step, jit_compile=model.jit_compile, reduce_retracing=True)
        ahead = _loaded_ahead(batches, tf.convert_to_tensor)
        return lambda _: compiled(next(ahead))

    # Keras makes these itself if they do not exist yet, and calls them once per batch
    model.train_function = function(model.train_step, train)
    model.test_function = function(model.test_step, valid)
    # tells Keras how many batches there are; the content is not used
    return tuple(tf.data.Dataset.range(len(batches)) for batches in (train, valid))


def _loaded_ahead(batches: Batches, convert: Callable) -> Iterator:
    """The batches of one epoch after the other, as tensors; the next one loads meanwhile."""
    loader = ThreadPoolExecutor(1)

    def load(number: int):
        return keras.tree.map_structure(convert, batches[number])

    while True:
        batch = load(0)  # only when it is needed: the number of its epoch must be known
        for number in range(1, len(batches)):
            following = loader.submit(load, number)
            yield batch
            batch = following.result()
        yield batch
