"""The course of a training: Keras callbacks with one duty each, which share a state.

Keras's own callbacks are not enough: EarlyStopping and ReduceLROnPlateau forget their counters when
a run is resumed, and BackupAndRestore leaves out the random states of dropout.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import keras
import numpy as np
from tqdm import tqdm

from lib.artefacts import run_record
from lib.console import say
from lib.errors import UserError
from lib.training.batches import Batches
from lib.training.checkpoints import Checkpoints

LINE_SECONDS = 60  # between lines about epochs when the output is not a terminal


@dataclass(frozen=True)
class TrainingPlan:
    """What to train, and how."""

    settings: Mapping  # of the run
    step: str  # section with epochs, learning_rate, decay, schedule and keep
    inputs: Mapping  # all that decides the result; a saved state of other inputs is refused
    loss: object  # as for keras.Model.compile
    metrics: object = None  # `weighted_metrics` there: weighted by the batches
    measure: str | None = None  # the metric that is shown, by its name in the history
    anew: bool = False  # remove a saved state that does not fit, instead of refusing it
    slow: Iterable = ()  # variables whose rate is multiplied by `encoder_rate` of the step

    @property
    def section(self) -> Mapping:
        return self.settings[self.step]

    @property
    def training(self) -> Mapping:
        return self.settings["training"]


@dataclass
class State:
    """The progress of a training; a saved state has the same names."""

    fingerprint: str  # of the inputs
    epoch: int = 0  # the last finished one
    best_epoch: int = 0  # the one with the lowest validation loss
    best_loss: float = math.inf
    since_best: int = 0  # epochs
    since_cut: int = 0  # epochs since the best one, or since a later cut of the rate
    stopped: bool = False
    history: list[dict] = field(default_factory=list)  # a row per epoch


@dataclass
class Course:
    """A running training, shared by its callbacks."""

    plan: TrainingPlan
    train: Batches
    valid: Batches
    checkpoints: Checkpoints
    state: State
    best: list[np.ndarray] = field(default_factory=list)  # weights of the best epoch


class Duty(keras.callbacks.Callback):
    """A callback with one duty in a course."""

    def __init__(self, course: Course):
        super().__init__()
        self.course = course


class EpochSeed(Duty):
    """Gives the batches the number of the epoch, on which their draws depend."""

    def on_epoch_begin(self, epoch, logs=None):
        train = self.course.train
        train.epoch = epoch
        if keras.backend.backend() == "torch":
            # its dropout draws from one global generator, which is not a variable of the model
            keras.utils.set_random_seed(train.seeds.dropout(epoch))


class Steps(Duty):
    """Shows the steps of an epoch as a bar, and stops a training whose loss is not finite."""

    def on_epoch_begin(self, epoch, logs=None):
        steps = len(self.course.train)
        self.bar = tqdm(total=steps, desc=f"epoch {epoch + 1}", leave=False, disable=None, delay=2)

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update()
        self._check(logs["loss"])

    def on_epoch_end(self, epoch, logs=None):
        self.bar.close()
        self._check(logs["val_loss"])

    def _check(self, loss: float) -> None:
        if math.isfinite(loss):
            return
        self.bar.close()
        plan, state = self.course.plan, self.course.state
        kept = self.course.checkpoints.kept_message(plan.section["epochs"])
        kept = kept or "no epoch was finished before"
        rate = f"{plan.step}.learning_rate={plan.section['learning_rate'] / 10:g}"
        raise UserError(
            f"the loss is not finite in epoch {state.epoch + 1}: try a lower learning rate (--set "
            f"{rate} --overwrite), or look for odd recordings; {kept}"
        )


class History(Duty):
    """Adds a row per epoch: losses and measures, rate of the last step, speed."""

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.monotonic()

    def on_test_begin(self, logs=None):
        self.trained = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        course, optimiser = self.course, self.model.optimizer
        row = {"epoch": epoch + 1}
        for name, value in logs.items():  # losses are means over all served items
            fill_factor = (course.valid if name.startswith("val_") else course.train).fill_factor
            row[name] = value * (fill_factor if name.endswith("loss") else 1.0)
        # the optimiser has counted the last step already
        share = optimiser.share(keras.ops.cast(optimiser.iterations, "float32") - 1.0)
        row["learning_rate"] = float(optimiser.learning_rate) * float(share)
        windows = course.train.items * course.train.windows
        row["windows_per_second"] = round(windows / (self.trained - self.began), 1)
        row["seconds"] = round(time.monotonic() - self.began, 2)
        course.state.history.append(row)
        course.state.epoch = epoch + 1


class BestWeights(Duty):
    """Keeps the weights of the lowest validation loss (ICASSP 2021 sec. 3.4)."""

    def on_epoch_end(self, epoch, logs=None):
        state = self.course.state
        loss = state.history[-1]["val_loss"]
        state.since_best += 1
        state.since_cut += 1
        if loss < state.best_loss:
            state.best_loss, state.best_epoch = loss, epoch + 1
            state.since_best = state.since_cut = 0
            self.course.best = _copies(self.model.weights)


class PlateauCut(Duty):
    """Cuts the learning rate when the validation loss does not fall."""

    def on_epoch_end(self, epoch, logs=None):
        plan, state = self.course.plan, self.course.state
        on_plateau = state.since_cut >= plan.training["plateau_epochs"]
        if plan.section["schedule"] == "plateau" and on_plateau:
            rate = self.model.optimizer.learning_rate
            rate.assign(float(rate) * plan.training["plateau_factor"])
            state.since_cut = 0


class EarlyStop(Duty):
    """Stops a training whose validation loss has not fallen for `stop_epochs` epochs."""

    def on_epoch_end(self, epoch, logs=None):
        if self.course.state.since_best >= self.course.plan.training["stop_epochs"]:
            self.course.state.stopped = self.model.stop_training = True


class EpochLine(Duty):
    """Prints a line per epoch; without a terminal at most one a minute, and the last."""

    def on_train_begin(self, logs=None):
        self.printed = -math.inf

    def on_epoch_end(self, epoch, logs=None):
        plan, state, now = self.course.plan, self.course.state, time.monotonic()
        row, epochs = state.history[-1], plan.section["epochs"]
        last = state.stopped or state.epoch == epochs
        if not (last or sys.stdout.isatty() or now - self.printed >= LINE_SECONDS):
            return
        self.printed = now
        names = ("loss", "val_loss", f"val_{plan.measure}")
        losses = "  ".join(f"{name} {row[name]:.4f}" for name in names if name in row)
        left = timedelta(seconds=round((epochs - state.epoch) * row["seconds"]))
        say(
            f"epoch {state.epoch:3d}/{epochs} {'*' if not state.since_best else ' '} {losses}  "
            f"rate {row['learning_rate']:.2g}  {row['windows_per_second']:.0f} windows/s"
            + ("" if last else f", at most {left} left")
        )


class SavedStates(Duty):
    """Saves the state after an epoch, so that a killed run resumes exactly where it stopped."""

    def resume(self) -> None:
        """Load the saved state, if there is one; UserError if it is not of this training."""
        checkpoints, state = self.course.checkpoints, self.course.state
        loaded = checkpoints.load()
        if loaded is None:
            return
        saved, arrays = loaded
        if not run_record.same_inputs(saved.get("fingerprint", ""), state.fingerprint):
            fault = "is of an unfinished training with other settings or data: finish it with its "
            fault += "own command"
        elif set(saved) != set(vars(state)) or not self._fit(arrays):
            fault = "was saved by another version of this suite, for another network or in another "
            fault += "format: finish it with that version"
        else:
            for name, variable in _numbered("last", self._variables()).items():
                variable.assign(arrays[name])
            self.course.best = [arrays[name] for name in _numbered("best", self.model.weights)]
            self.course.state = State(**saved)
            say(f"resuming after epoch {saved['epoch']}")
            return
        if not self.course.plan.anew:
            raise UserError(f"{checkpoints.folder} {fault}, or start again with --overwrite")
        checkpoints.remove()

    def on_train_begin(self, logs=None):
        self.saved = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        if time.monotonic() - self.saved >= self.course.plan.training["checkpoint_seconds"]:
            self.save()

    def save(self) -> None:
        arrays = _numbered("last", _copies(self._variables()))
        arrays |= _numbered("best", self.course.best)
        self.course.checkpoints.save(vars(self.course.state), arrays)
        self.saved = time.monotonic()

    def _variables(self) -> list:
        """Everything that changes in training: weights, statistics, random states, optimiser."""
        return [*self.model.variables, *self.model.optimizer.variables]

    def _fit(self, arrays: Mapping[str, np.ndarray]) -> bool:
        """Whether saved arrays match the variables of this training in names and shapes."""
        here = _numbered("last", self._variables()) | _numbered("best", self.model.weights)
        numbers = {name: a.shape for name, a in arrays.items() if a.dtype.kind in "fiub"}
        return numbers == {name: tuple(variable.shape) for name, variable in here.items()}


# in the order in which Keras calls them; SavedStates comes last
DUTIES = (EpochSeed, Steps, History, BestWeights, PlateauCut, EarlyStop, EpochLine)


def _numbered(prefix: str, values: Iterable) -> dict:
    return {f"{prefix}_{number:04d}": value for number, value in enumerate(values)}


def _copies(variables: Iterable) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
