"""Seeding, optimiser, fit with resume. Knows nothing of which model it trains."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from lib.artefacts import CHECKPOINT
from lib.errors import UserError


def run_seed(seed: int, iteration: int) -> int:
    """The seed of one of several independent runs, derived from (seed, iteration)."""
    return int(np.random.SeedSequence([seed, iteration]).generate_state(1)[0])


class DecayedAdam(keras.optimizers.Adam):
    """Adam whose rate falls as rate / (1 + decay x step), as Keras 2 did with `decay`.

    A learning-rate schedule would do the same, but its rate cannot be cut on a plateau.
    """

    def __init__(self, *args, decay: float = 0.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.decay = decay

    def update_step(self, gradient, variable, learning_rate):
        step = keras.ops.cast(self.iterations, learning_rate.dtype)
        super().update_step(gradient, variable, learning_rate / (1.0 + self.decay * step))

    def get_config(self) -> dict:
        return super().get_config() | {"decay": self.decay}


def optimizer(section: Mapping, training: Mapping) -> DecayedAdam:
    """The optimiser of a step; `section` gives learning_rate and decay, `training` the rest."""
    return DecayedAdam(
        learning_rate=section["learning_rate"],
        decay=section["decay"],
        amsgrad=training["amsgrad"],
        epsilon=training["epsilon"],
    )


class Course(keras.callbacks.Callback):
    """The course of a training: best weights, plateaus, stopping, history, saved states.

    Validation loss decides (ICASSP 2021 sec. 3.4). All counters live in `state`, which is saved
    with the weights and the optimiser, so that a killed run goes on exactly where it was.

    Parameters
    ----------
    train : the training batches, which are told each epoch's number
    folder : run directory, where an unfinished training keeps its saved state
    training : section `training` of the settings
    epochs : at most
    fingerprint : identifies settings and data; a saved state of another one is not used
    """

    def __init__(self, train, folder: Path, training: Mapping, epochs: int, fingerprint: str):
        super().__init__()
        self.train, self.folder, self.training, self.epochs = train, folder, training, epochs
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
        self.saved_at = time.monotonic()

    def resume(self) -> int:
        """Load the saved state, if there is one; returns the epochs done.

        Raises UserError when it is of a run with other settings or data.
        """
        folder = self.folder / CHECKPOINT
        if not folder.is_dir():
            return 0
        try:
            state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            with np.load(folder / "state.npz") as saved:
                last = [saved[name] for name in self._names("last")]
                best = [saved[name] for name in saved.files if name.startswith("best")]
            same = state["fingerprint"] == self.state["fingerprint"]
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            print(f"{folder} cannot be read ({str(error)[:60]}); training starts anew")
            return 0
        if not same:
            raise UserError(
                f"{folder} is of an unfinished training with other settings or data: finish it "
                f"with its own line, or remove that folder"
            )
        for variable, array in zip(self._variables(), last, strict=True):
            variable.assign(array)
        self.best = best
        self.state = state
        print(f"resuming after epoch {state['epoch']}")
        return state["epoch"]

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch_began = time.monotonic()
        self.train.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        logs = {name: float(value) for name, value in (logs or {}).items()}
        state, optimiser = self.state, self.model.optimizer
        rate = float(keras.ops.convert_to_numpy(optimiser.learning_rate))
        if not math.isfinite(logs["loss"]) or not math.isfinite(logs["val_loss"]):
            raise UserError(
                f"the loss is not finite in epoch {epoch + 1}: try a lower learning rate (--set) "
                f"or other features; the best weights are of epoch {state['best_epoch']}"
            )
        seconds = time.monotonic() - self.epoch_began
        row = {"epoch": epoch + 1, **logs, "learning_rate": rate, "seconds": round(seconds, 2)}
        state["history"].append(row)
        state["epoch"] = epoch + 1
        if logs["val_loss"] < state["best_loss"]:
            state.update(
                best_loss=logs["val_loss"], best_epoch=epoch + 1, since_best=0, since_cut=0
            )
            self.best = self.model.get_weights()
        else:
            state["since_best"] += 1
            state["since_cut"] += 1
        if state["since_cut"] >= self.training["plateau_epochs"]:
            optimiser.learning_rate.assign(rate * self.training["plateau_factor"])
            state["since_cut"] = 0
        if state["since_best"] >= self.training["stop_epochs"]:
            state["stopped"] = self.model.stop_training = True
        self._print(row)
        if time.monotonic() - self.saved_at >= self.training["checkpoint_seconds"]:
            self.save()

    def save(self) -> None:
        """Save the state beside the run, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        new = self.folder / f".partial-{os.getpid()}-{CHECKPOINT}"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        last = map(keras.ops.convert_to_numpy, self._variables())
        arrays = dict(zip(self._names("last"), last, strict=True))
        arrays |= {f"best_{i:04d}": array for i, array in enumerate(self.best)}
        np.savez(new / "state.npz", **arrays)
        (new / "state.json").write_text(json.dumps(self.state), encoding="utf-8")
        old = self.folder / CHECKPOINT
        shutil.rmtree(old, ignore_errors=True)
        os.replace(new, old)
        self.saved_at = time.monotonic()

    def _variables(self) -> list:
        """All that changes in training: weights, statistics, random states, optimiser."""
        # Keras's own weights files leave the random states of dropout out
        return [*self.model.variables, *self.model.optimizer.variables]

    def _names(self, prefix: str) -> list[str]:
        return [f"{prefix}_{i:04d}" for i in range(len(self._variables()))]

    def _print(self, row: Mapping) -> None:
        shown = " ".join(
            f"{name} {value:.4f}"
            for name, value in row.items()
            if name in ("loss", "val_loss", "val_accuracy") or name.endswith("quadrants_accuracy")
        )
        mark = "*" if self.state["best_epoch"] == row["epoch"] else " "
        left = (self.epochs - row["epoch"]) * row["seconds"]
        print(
            f"epoch {row['epoch']:3d}/{self.epochs} {mark} {shown} rate {row['learning_rate']:.2g} "
            f"{row['seconds']:.1f} s, at most {left / 60:.0f} min left",
            flush=True,
        )


def fit(
    model: keras.Model,
    train: keras.utils.PyDataset,
    valid: keras.utils.PyDataset,
    folder: Path,
    *,
    loss: object,
    metrics: object,
    section: Mapping,
    training: Mapping,
    fingerprint: str,
) -> tuple[dict, list[dict]]:
    """Train, and leave the best weights in `model`.

    Parameters
    ----------
    train, valid : batches; those of training are told their epoch
    folder : run directory, where an unfinished training keeps its saved state
    loss, metrics : as for keras.Model.compile
    section : epochs, learning_rate, decay
    training : section `training` of the settings
    fingerprint : identifies settings and data for resuming

    Returns the outcome {"epoch", "best_epoch", "best_loss", "stopped"} and the history, a row per
    epoch. Raises UserError when the loss stops
    being finite.
    """
    # a twin over the same layers is compiled: `model` stays without optimiser and loss, so that
    # it can be saved, alone or inside another, and loaded without this project's code
    model = keras.Model(model.input, model.output, name=model.name)
    model.compile(
        optimizer=optimizer(section, training),
        loss=loss,
        metrics=metrics,
        # never left to chance: Keras's "auto" turns XLA on, four times slower on CPUs
        jit_compile=training["xla"],
    )
    _build(model, train)
    course = Course(train, folder, training, section["epochs"], fingerprint)
    course.set_model(model)
    done = course.resume()
    if done < section["epochs"] and not course.state["stopped"]:
        model.fit(
            train,
            validation_data=valid,
            epochs=section["epochs"],
            initial_epoch=done,
            callbacks=[course],
            shuffle=False,  # the batches are shuffled already, by seed and epoch
            verbose=0,
        )
    model.set_weights(course.best)
    names = ("epoch", "best_epoch", "best_loss", "stopped")
    return {name: course.state[name] for name in names}, course.state["history"]


def _build(model: keras.Model, train: keras.utils.PyDataset) -> None:
    """Create the variables of optimiser, loss and metrics now: a compiled step that creates them
    on its first call is traced twice, which costs seconds in every short run."""
    x, y, *weights = (keras.tree.map_structure(lambda a: a[:1], part) for part in train[0])
    weights = weights[0] if weights else None
    predicted = model(x, training=False)
    model.optimizer.build(model.trainable_variables)
    model.compute_loss(x, y, predicted, weights)
    model.compute_metrics(x, y, predicted, weights)
    model.reset_metrics()
