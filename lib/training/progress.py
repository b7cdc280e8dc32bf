"""The course of a training: best weights, plateaus, stopping, history, saved states, progress."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping

import keras
import numpy as np
from tqdm import tqdm

from lib.artefacts import run_record
from lib.console import say
from lib.errors import UserError
from lib.training.batches import Batches
from lib.training.checkpoints import Checkpoints
from lib.training.seeds import run_seed

LINE_SECONDS = 60  # between lines about epochs where nobody watches
LOOK_SECONDS = 2  # between looks at the loss within an epoch


class Course(keras.callbacks.Callback):
    """The course of a training: best weights, plateaus, stopping, history, saved states.

    Validation loss decides (ICASSP 2021 sec. 3.4). All counters live in `state`, which is saved
    with the weights and the optimiser, so that a killed run goes on exactly where it was.

    Parameters
    ----------
    train, valid : the batches; those of training are told each epoch's number
    checkpoints : where the states of an unfinished training are saved
    training : section `training` of the settings
    section : epochs (at most) and schedule
    fingerprint : identifies settings and data; a saved state of another one is not used
    measure : what is shown beside the losses
    advice : what to try when the loss is not finite
    """

    def __init__(
        self,
        train: Batches,
        valid: Batches,
        checkpoints: Checkpoints,
        *,
        training: Mapping,
        section: Mapping,
        fingerprint: str,
        measure: str | None,
        advice: str,
    ):
        super().__init__()
        self.train, self.valid, self.checkpoints = train, valid, checkpoints
        self.training, self.epochs = training, section["epochs"]
        self.plateau = section["schedule"] == "plateau"
        self.measure, self.advice = measure, advice
        self.state = {
            "fingerprint": fingerprint,
            "epoch": 0,
            "best_epoch": 0,
            "best_loss": math.inf,
            "since_best": 0,
            "since_cut": 0,
            "stopped": False,
            "history": [],
        }
        self.best: list[np.ndarray] | None = None
        self.copy_all, self.copy_best = _Copies(checkpoints.wait), _Copies(checkpoints.wait)
        self.saved_at = self.looked_at = time.monotonic()
        self.told_at = -math.inf
        self.bar = None

    def resume(self, anew: bool) -> int:
        """Load the saved state, if there is one; returns the epochs done.

        anew : begin anew where it is of a run with other settings or data, or of another version
        of the suite, instead of raising UserError
        """
        found = self.checkpoints.load()
        if found is None:
            return 0
        state, arrays = found
        why = None
        if not run_record.same_inputs(state.get("fingerprint", ""), self.state["fingerprint"]):
            why = "is of an unfinished training with other settings or data: finish it with its "
            why += "own line"
        elif not self._fits(state, arrays):
            why = "was saved by another version of this suite, of another network or in another "
            why += "format: finish it with that version"
        if why and not anew:
            raise UserError(f"{self.checkpoints.folder} {why}, or begin anew with --overwrite")
        if why:
            self.checkpoints.remove()
            return 0
        for name, variable in zip(self._names("last"), self._variables(), strict=True):
            variable.assign(arrays[name])
        self.best = [arrays[name] for name in sorted(arrays) if name.startswith("best")]
        self.state = state
        say(f"resuming after epoch {state['epoch']}")
        return state["epoch"]

    def on_epoch_begin(self, epoch, logs=None):
        self.train.epoch = epoch
        if keras.backend.backend() == "torch":
            # dropout draws from one generator for all, which is no variable of the model
            keras.utils.set_random_seed(run_seed(self.train.seed, epoch))
        self.began = time.monotonic()
        self.trained = None  # when the last step of the epoch was done
        self.bar = tqdm(
            desc=f"epoch {epoch + 1}", total=len(self.train), leave=False, disable=None, delay=2
        )

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update()
        now = time.monotonic()
        if now - self.looked_at > LOOK_SECONDS:
            self.looked_at = now
            self._check(float(logs["loss"]))

    def on_test_begin(self, logs=None):
        self.trained = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        self.bar.close()
        self._check(*(float(logs[name]) for name in ("loss", "val_loss")))
        state, optimiser = self.state, self.model.optimizer
        rate = float(keras.ops.convert_to_numpy(optimiser.learning_rate))
        # of the last step, which the counter of steps has left behind
        share = optimiser.share(keras.ops.cast(optimiser.iterations, "float32") - 1.0)
        row = {"epoch": epoch + 1}
        for name, value in logs.items():  # means over what was served: per item that counts
            served = (self.valid if name.startswith("val_") else self.train).served
            row[name] = float(value) * (served if name.endswith("loss") else 1.0)
        speed = self.train.items * self.train.windows / (self.trained - self.began)
        shown = rate * float(keras.ops.convert_to_numpy(share))
        row |= {"learning_rate": shown, "windows_per_second": round(speed, 1)}
        row["seconds"] = round(time.monotonic() - self.began, 2)
        state["history"].append(row)
        state["epoch"] = epoch + 1
        if row["val_loss"] < state["best_loss"]:
            state.update(best_loss=row["val_loss"], best_epoch=epoch + 1, since_best=0, since_cut=0)
            self.best = self.copy_best(self.model.weights)
        else:
            state["since_best"] += 1
            state["since_cut"] += 1
        cut = self.plateau
        if cut and state["since_cut"] >= self.training["plateau_epochs"]:
            optimiser.learning_rate.assign(rate * self.training["plateau_factor"])
            state["since_cut"] = 0
        if state["since_best"] >= self.training["stop_epochs"]:
            state["stopped"] = self.model.stop_training = True
        self._tell(row)
        if time.monotonic() - self.saved_at >= self.training["checkpoint_seconds"]:
            self._save()

    def _check(self, *losses: float) -> None:
        if not all(map(math.isfinite, losses)):
            self.bar.close()
            self.checkpoints.wait()
            kept = "no epoch was finished before"
            if self.checkpoints.saved:
                kept = f"epoch {self.checkpoints.saved} is kept in {self.checkpoints.folder}"
            raise UserError(
                f"the loss is not finite in epoch {self.state['epoch'] + 1}: {self.advice}, or "
                f"look for odd recordings; {kept}"
            )

    def _save(self) -> None:
        copies = self.copy_all(self._variables())
        arrays = dict(zip(self._names("last"), copies, strict=True))
        arrays |= {f"best_{i:04d}": array for i, array in enumerate(self.best)}
        self.checkpoints.save(self.state, arrays)
        self.saved_at = time.monotonic()

    def _variables(self) -> list:
        """All that changes in training: weights, statistics, random states, optimiser."""
        # Keras's own weights files leave the random states of dropout out
        return [*self.model.variables, *self.model.optimizer.variables]

    def _fits(self, state: Mapping, arrays: Mapping[str, np.ndarray]) -> bool:
        """Whether a saved state has all that this training has, in the same shapes."""
        shapes = dict(zip(self._names("last"), (v.shape for v in self._variables()), strict=True))
        shapes |= {f"best_{i:04d}": v.shape for i, v in enumerate(self.model.weights)}
        found = {name: array.shape for name, array in arrays.items() if array.dtype.kind in "fiub"}
        return set(state) == set(self.state) and found == {k: tuple(v) for k, v in shapes.items()}

    def _names(self, prefix: str) -> list[str]:
        return [f"{prefix}_{i:04d}" for i in range(len(self._variables()))]

    def _tell(self, row: Mapping) -> None:
        """A line about the epoch; where nobody watches, one a minute at most, and the last."""
        now, last = time.monotonic(), self.state["stopped"] or row["epoch"] == self.epochs
        if not (last or sys.stdout.isatty() or now - self.told_at >= LINE_SECONDS):
            return
        self.told_at = now
        names = ["loss", "val_loss", *([f"val_{self.measure}"] if self.measure else [])]
        shown = "  ".join(f"{name} {row[name]:.4f}" for name in names)
        mark = "*" if self.state["best_epoch"] == row["epoch"] else " "
        left = (self.epochs - row["epoch"]) * row["seconds"]
        say(
            f"epoch {row['epoch']:3d}/{self.epochs} {mark} {shown}  rate "
            f"{row['learning_rate']:.2g}  {row['windows_per_second']:.0f} windows/s"
            + ("" if last else f", at most {_duration(left)} left")
        )


class _Copies:
    """Copies of the values of variables, in the same memory each time: new memory costs twenty
    times the copying.

    wait : returns when the copies before are no longer on their way to the disk
    """

    def __init__(self, wait: Callable[[], None]):
        self.wait = wait
        self.copies: list[np.ndarray] | None = None

    def __call__(self, variables: Iterable) -> list[np.ndarray]:
        values = map(keras.ops.convert_to_numpy, variables)
        if self.copies is None:
            self.copies = [np.array(value) for value in values]
            return self.copies
        self.wait()
        for copy, value in zip(self.copies, values, strict=True):
            np.copyto(copy, value)
        return self.copies


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
