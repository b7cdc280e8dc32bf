"""List every random draw of the stages, by its purpose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BOOTSTRAP = 0  # seed of the intervals of results, which come from many runs
# the purpose is part of the key of a stream, so that no two purposes share a stream
_PURPOSES = ("order", "batch", "dropout", "figure")


@dataclass(frozen=True)
class Seeds:
    """The random draws of one run.

    run       : setting run.seed
    iteration : of the run; each iteration has its own draws
    """

    run: int
    iteration: int = 0

    @property
    def split(self) -> int:
        """Seed for drawing recordings, their splits and folds: the same in all iterations."""
        return self.run

    @property
    def weights(self) -> int:
        """Seed for a network's initial weights and its dropout (keras.utils.set_random_seed)."""
        return int(np.random.SeedSequence([self.run, self.iteration]).generate_state(1)[0])

    def labelled_clips(self, split: int) -> np.random.Generator:
        """Which clips keep their labels; `split` 0: of the training, 1: of the validation."""
        return np.random.default_rng([self.run, self.iteration, split])

    def order(self, epoch: int) -> np.random.Generator:
        """The order of the items of an epoch."""
        return np.random.default_rng(self._stream("order", epoch))

    def batch(self, epoch: int, number: int) -> np.random.Generator:
        """The draws of a batch: noise, hidden patches, negatives, augmentation."""
        return np.random.default_rng(self._stream("batch", epoch, number))

    def dropout(self, epoch: int) -> int:
        """Dropout of an epoch, where the generator is not a variable of the model (PyTorch)."""
        return int(self._stream("dropout", epoch).generate_state(1)[0])

    def figure(self) -> np.random.Generator:
        """The noise on the windows of a figure."""
        return np.random.default_rng(self._stream("figure"))

    def _stream(self, purpose: str, *numbers: int) -> np.random.SeedSequence:
        key = (_PURPOSES.index(purpose), *numbers)
        return np.random.SeedSequence([self.run, self.iteration], spawn_key=key)


FIRST = Seeds(0)  # of the first run with the default settings
