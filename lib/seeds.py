"""Every random draw of the stages, by its purpose: all of them stand in this list."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BOOTSTRAP = 0  # seed of the intervals of results, which are of many runs
# part of what a stream is made from, so that no two purposes share one
_PURPOSES = ("order", "batch", "dropout", "figure")


@dataclass(frozen=True)
class Seeds:
    """The random draws of one run.

    run       : setting run.seed
    iteration : of the run, which has draws of its own
    """

    run: int
    iteration: int = 0

    @property
    def split(self) -> int:
        """Which recordings are drawn, and their splits and folds: the same in all iterations."""
        return self.run

    @property
    def weights(self) -> int:
        """The weights that a network starts with, and its dropout (keras.utils.set_random_seed)."""
        return int(np.random.SeedSequence([self.run, self.iteration]).generate_state(1)[0])

    def labelled_clips(self, split: int) -> np.random.Generator:
        """Which clips keep their labels; `split` 0: of the training, 1: of the validation."""
        return np.random.default_rng([self.run, self.iteration, split])

    def order(self, epoch: int) -> np.random.Generator:
        """The order of the items of an epoch."""
        return np.random.default_rng(self._stream("order", epoch))

    def batch(self, epoch: int, number: int) -> np.random.Generator:
        """What a batch draws: noise, hidden patches, negatives, augmentation."""
        return np.random.default_rng(self._stream("batch", epoch, number))

    def dropout(self, epoch: int) -> int:
        """Dropout of an epoch, where its generator is no variable of the model (PyTorch)."""
        return int(self._stream("dropout", epoch).generate_state(1)[0])

    def figure(self) -> np.random.Generator:
        """The noise on the windows of a figure."""
        return np.random.default_rng(self._stream("figure"))

    def _stream(self, purpose: str, *numbers: int) -> np.random.SeedSequence:
        key = (_PURPOSES.index(purpose), *numbers)
        return np.random.SeedSequence([self.run, self.iteration], spawn_key=key)


FIRST = Seeds(0)  # those of the first run by default settings
