"""Batches of items whose order and content depend on (seeds, epoch, index) alone.

A resumed run therefore sees the same batches as an uninterrupted one. All batches have the same
size, so that a step is compiled once. Every item of a split counts exactly once per epoch: the
epoch's first items fill up the last batch. Batch norm sees them, but their weight in loss and
measures is 0.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from lib.seeds import FIRST, Seeds

Take = Callable[[np.ndarray], np.ndarray]


class Batches(keras.utils.PyDataset):
    """Shuffled or ordered batches of item numbers; subclasses say what an item is.

    items : number of items
    size : items per batch; fewer if there are not enough items
    seeds : for the order (one per epoch) and for the draws of a subclass
    shuffle : False serves items in order, with the same draws in every epoch (validation)
    order : random generator -> order of the items : int64 (items,), when shuffled; default: random
    """

    windows = 1  # per item

    def __init__(
        self,
        items: int,
        size: int,
        seeds: Seeds = FIRST,
        shuffle: bool = False,
        order: Callable[[np.random.Generator], np.ndarray] | None = None,
    ):
        super().__init__()
        self.items, self.size = items, max(1, min(size, items))
        self.seeds, self.shuffle = seeds, shuffle
        self.order = order or (lambda rng: rng.permutation(items))
        self.epoch = 0  # set by training: Keras calls on_epoch_end more often than once per epoch
        self.drawn = (None, np.arange(items))  # (seeds and epoch, its order)

    def __len__(self) -> int:
        return -(-self.items // self.size)

    @property
    def fill_factor(self) -> float:
        """Items in all batches / items of an epoch. Items that only fill up the last batch have the
        weight 0, so Keras's mean loss is too small by this factor."""
        return len(self) * self.size / self.items

    def __getitem__(self, batch: int):
        epoch = self.epoch if self.shuffle else 0
        if self.shuffle and self.drawn[0] != (self.seeds, epoch):
            self.drawn = (self.seeds, epoch), self.order(self.seeds.order(epoch))
        order, rng = self.drawn[1], self.seeds.batch(epoch, batch)
        index = order[batch * self.size : (batch + 1) * self.size]
        counts = (np.arange(self.size) < len(index)).astype(np.float32)
        return self.load(np.concatenate([index, order[: self.size - len(index)]]), counts, rng)

    def load(self, index: np.ndarray, counts: np.ndarray, rng: np.random.Generator):
        """The batch of the items `index` : int64 (n,), with weights from `counts` : float32 (n,),
        which is 1, or 0 where an item only fills the batch up."""
        raise NotImplementedError


class Inputs(Batches):
    """Inputs alone, in order, from `take(index)`. Items that only fill up the last batch are at its
    end, and so are their predictions."""

    def __init__(self, take: Take, items: int, size: int):
        super().__init__(items, size)
        self.take = take

    def load(self, index, counts, rng):
        return (self.take(index),)
