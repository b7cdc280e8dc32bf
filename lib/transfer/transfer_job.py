"""A transfer in progress: its plan, its data and labels, and what decides each of its runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import keras
import numpy as np

from lib.artefacts import run_record
from lib.artefacts.run_name import RunName
from lib.configuration import Settings
from lib.datasets.folds import Part
from lib.datasets.windows import Windows
from lib.labels import TASKS
from lib.seeds import Seeds
from lib.training.batches import Take
from lib.training.hardware import Machine
from lib.transfer.recipes import Recipe
from lib.transfer.transfer_plan import TAUGHT, TransferPlan


@dataclass(frozen=True)
class Job:
    """A plan with its data.

    folder    : of the music data set
    data      : {split: windows}; in a cross-validation, those of the fold `part`
    synthetic : whether the sound of the data set is synthetic
    pool      : in a cross-validation, the windows of all clips; `part` has rows of its table
    recipe    : in a nested cross-validation, the recipe that the settings have
    codes     : {(identity of the last encoder, dtype): function that gives the codes of the pool},
                shared by all folds
    """

    plan: TransferPlan
    settings: Settings
    folder: Path
    data: dict[str, Windows]
    machine: Machine
    overwrite: bool
    synthetic: bool = False
    pool: Windows | None = None
    part: Part | None = None
    recipe: Recipe | None = None
    codes: dict[tuple[str, str], Take] = field(default_factory=dict)

    def name(self, step: str, iteration: int) -> RunName:
        """The run of a step; in a fold, that of the fold.

        With a recipe, the name has the part of the recipe that decides the step, so that recipes
        share equal steps. The last step of a fold has no such part: it has the chosen recipe.
        """
        fold, inner = (self.part.number, self.part.inner) if self.part else (None, None)
        name = self.plan.name(step, iteration, self.settings["run"]["tag"], fold)
        if self.recipe is None or (inner is None and step == self.plan.steps[-1]):
            return name
        sections = ("training", *self.plan.sections_until(step))
        return replace(name, inner=inner, recipe=self.recipe.within(sections).key)

    def path(self, name: RunName) -> Path:
        """The directory of a run."""
        return name.path(self.settings["paths"]["models"])

    def of_fold(self, part: Part, iteration: int) -> Job:
        """The job of one fold, with the labels that the settings keep in an iteration."""
        return self.at(replace(part, rows=self._labelled(self.pool, part.rows, iteration)))

    def at(self, part: Part) -> Job:
        """The same job, on the recordings of a fold."""
        data = {name: self.pool.subset(rows) for name, rows in part.rows.items()}
        return replace(self, data=data, part=part)

    def with_recipe(self, recipe: Recipe) -> Job:
        """The same job, with the settings of a recipe."""
        return replace(self, settings=recipe.applied(self.settings), recipe=recipe)

    def with_labels(self, iteration: int) -> Job:
        """The same job, with the labels that the settings keep in an iteration."""
        data = dict(self.data)
        for name, windows in self.data.items():
            rows = {name: np.arange(len(windows.table))}
            kept = self._labelled(windows, rows, iteration)[name]
            if len(kept) < len(windows.table):
                data[name] = windows.subset(kept)
        return replace(self, data=data)

    def _labelled(self, windows: Windows, rows: Mapping, iteration: int) -> dict:
        share = self.settings["transfer"]["labels"]
        return select_labelled(windows, rows, share, self.seeds(iteration))

    def seeds(self, iteration: int) -> Seeds:
        """The random draws of an iteration."""
        return Seeds(self.settings["run"]["seed"], iteration)

    def inputs(self, step: str, iteration: int) -> dict:
        """All that decides the result of a step, for run.json."""
        names = ("features", "network", *self.plan.sections(step))
        taught = self.plan.teacher if step in TAUGHT else None
        return {
            "model": self.plan.model,
            "seed": self.settings["run"]["seed"],
            "iteration": iteration,
            "labels": self.settings["transfer"]["labels"],
            "dataset": {name: windows.identity for name, windows in self.data.items()},
            **{name: self.settings[name] for name in names},
            "training": run_record.deciding_settings(self.settings["training"]),
            **({"taught_by": taught.digests} if taught else {}),
        }


@dataclass(frozen=True)
class Step:
    """One run of a job, ready to be trained.

    inputs  : all that decides it
    parents : the inputs of the runs that it starts from, by step
    build   : makes the network, or the encoder of a probe (None: no encoder)
    coded   : whether the data are codes already, which the network takes as input
    """

    name: RunName
    inputs: dict
    parents: dict
    build: Callable[[], keras.Model] | None
    coded: bool = False


def select_labelled(
    windows: Windows, rows: Mapping[str, np.ndarray], share: float, seeds: Seeds
) -> dict[str, np.ndarray]:
    """The rows of a share of every quadrant in each split, at least one clip; all test rows.

    rows : {split: int64 (clips,)} of windows.table; with the same seeds, a smaller share is part
    of a larger one
    """
    quadrants, kept = windows.table["quadrant"].to_numpy(), dict(rows)
    for number, name in enumerate(("train", "val")):
        if share < 1 and name in rows:
            order = seeds.labelled_clips(number).permutation(rows[name])
            classes = [order[quadrants[order] == q] for q in TASKS["quadrants"]]
            few = [r[: max(1, round(share * len(r)))] for r in classes]
            kept[name] = np.sort(np.concatenate(few))
    return kept
