"""What a transfer is asked for, where its runs are, and which clips it learns from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lib.artefacts import run_name, run_record
from lib.configuration import Settings
from lib.datasets.folds import Folds, Part
from lib.datasets.windows import Windows
from lib.labels import TASKS
from lib.training.batches import Take
from lib.training.hardware import Machine


@dataclass(frozen=True)
class Job:
    """What is transferred to what; `folder` of the music.

    speech : "e", "m", "x", "u" (the music itself without its labels) or "n" (random weights)

    In a cross-validation `data` is of the fold `part`, whose rows are those of `pool`, and `codes`
    are those of the pool by the encoder used last, {its identity: what gives them}, for all folds.
    """

    model: str
    speech: str
    music: str
    settings: Settings
    folder: Path
    data: dict[str, Windows]
    machine: Machine
    overwrite: bool
    probe: bool = False
    folds: Folds | None = None
    pool: Windows | None = None
    part: Part | None = None
    codes: dict[str, Take] = field(default_factory=dict)

    def whole(self, mode: str, iteration: int) -> Path:
        """The run directory of a step; in a cross-validation, that of all folds."""
        names = (self.speech, self.music, self.model, mode, iteration)
        folds, tag = self.folds.name if self.folds else "", self.settings["run"]["tag"]
        return run_name.transfer_run(self.settings["paths"]["models"], *names, folds, tag)

    def run(self, mode: str, iteration: int) -> Path:
        """The run directory of a step; in a cross-validation, that of the fold."""
        whole = self.whole(mode, iteration)
        return whole / f"fold_{self.part.number}" if self.part else whole

    def fold(self, part: Part, iteration: int) -> Job:
        """The job of one fold, with the labels that the settings leave to an iteration."""
        part = replace(part, rows=self._labelled(self.pool, part.rows, iteration))
        data = {name: self.pool.subset(rows) for name, rows in part.rows.items()}
        return replace(self, data=data, part=part)

    def with_labels(self, iteration: int) -> Job:
        """The same job, with the labels that the settings leave to an iteration."""
        data = dict(self.data)
        for name, windows in self.data.items():
            rows = {name: np.arange(len(windows.table))}
            kept = self._labelled(windows, rows, iteration)[name]
            if len(kept) < len(windows.table):
                data[name] = windows.subset(kept)
        return replace(self, data=data)

    def _labelled(self, windows: Windows, rows: Mapping, iteration: int) -> dict:
        share, seed = self.settings["transfer"]["labels"], self.settings["run"]["seed"]
        return few_labels(windows, rows, share, [seed, iteration])

    def title(self, mode: str, iteration: int) -> str:
        """How figures and reports call a run."""
        whole = self.whole(mode, iteration)
        fold = f", fold {self.part.number}" if self.part else ""
        return f"{whole.parent.name}, {whole.name}{fold}"

    def inputs(self, iteration: int, *sections: str) -> dict:
        """All that decides the result of a step, for run.json."""
        return {
            "model": self.model,
            "seed": self.settings["run"]["seed"],
            "iteration": iteration,
            "labels": self.settings["transfer"]["labels"],
            "dataset": {name: windows.identity for name, windows in self.data.items()},
            "features": self.settings["features"],
            "network": self.settings["network"],
            **{name: self.settings[name] for name in sections},
            "training": run_record.decisive(self.settings["training"]),
        }


def few_labels(
    windows: Windows, rows: Mapping[str, np.ndarray], share: float, seed: list[int]
) -> dict[str, np.ndarray]:
    """Of the rows of each split a share of every quadrant, at least one clip; all of the test.

    rows : {split: int64 (clips,)} of windows.table; seed : of the draw, in which a smaller share
    lies inside a larger one
    """
    quadrants, kept = windows.table["quadrant"].to_numpy(), dict(rows)
    for number, name in enumerate(("train", "val")):
        if share < 1 and name in rows:
            order = np.random.default_rng([*seed, number]).permutation(rows[name])
            of = [order[quadrants[order] == q] for q in TASKS["quadrants"]]
            kept[name] = np.sort(np.concatenate([r[: max(1, round(share * len(r)))] for r in of]))
    return kept
