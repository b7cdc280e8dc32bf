"""The paper's Table 2 from the finished runs.

Rows: encoder x mode x task. Columns: language pair. Cells: macro precision / recall / F1, mean ±
standard deviation over iterations (n - 1 in the denominator), with the published figures beside
them. All is computed from the runs' predictions.csv.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lib.evaluation import bootstrap, metrics
from lib.evaluation.metrics import MEASURES
from lib.labels import TASKS
from lib.results.contrasts import PUBLISHED, SEED, contrasts, differences
from lib.results.finished_runs import KEYS, LEVELS, Cell, collect


@dataclass(frozen=True)
class Results:
    """All that the tables show, each as a table in long form."""

    cells: pd.DataFrame
    differences: pd.DataFrame
    contrasts: pd.DataFrame
    folds: pd.DataFrame
    runs: pd.DataFrame
    notes: list[str]


def summarise(cells: Sequence[Cell]) -> pd.DataFrame:
    """A row per cell, level and task, and chance.

    Columns: level, model, mode, speech, music, task, runs; <measure>_mean and _sd (NaN for a single
    run) of macro precision, recall and F1, weighted F1 and accuracy; f1_low and f1_high, the 95 %
    interval of macro F1 over clips; published_<1|2> and published_<1|2>_weighted, F1 per window.
    """
    published = pd.read_csv(PUBLISHED)
    shown = {f"macro_{m}": m for m in MEASURES} | {
        "weighted_f1": "weighted_f1",
        "accuracy": "accuracy",
    }
    shown |= {"ece": "ece"}
    rows = []
    for level in LEVELS:
        for cell in cells:
            weights = bootstrap.draws(len(cell.clips), SEED)
            for task in TASKS:
                results = [one[level][task] for one in cell.measures]
                row = {"level": level, **dict(zip(KEYS, cell.key, strict=True)), "task": task}
                row["runs"] = len(results)
                for name, short in shown.items():
                    values = [result[name] for result in results]
                    row[f"{short}_mean"] = np.mean(values)
                    row[f"{short}_sd"] = np.std(values, ddof=1) if len(values) > 1 else np.nan
                _, samples = bootstrap.resampled(cell.counts[level][task], weights)
                row["f1_low"], row["f1_high"] = bootstrap.interval(samples)
                if level == "window":
                    row |= _published(published, row)
                rows.append(row)
    for music in dict.fromkeys(cell.key[3] for cell in cells):
        cell = next(cell for cell in cells if cell.key[3] == music)
        for level in LEVELS:
            for task in TASKS:
                items = [c["items"] for c in cell.measures[0][level][task]["per_class"].values()]
                guess = metrics.chance(items)
                row = {"level": level, "model": "chance", "mode": "chance", "speech": "none"}
                row |= {"music": music, "task": task, "runs": 0}
                rows.append(row | {f"{m}_mean": guess[m] for m in MEASURES})
    return pd.DataFrame(rows)


def _published(table: pd.DataFrame, row: Mapping) -> dict:
    """The published F1 of a cell, by experiment; NaN where none was released."""
    same = table[(table[[*KEYS, "task"]] == [row[k] for k in (*KEYS, "task")]).all(axis=1)]
    found = {}
    for experiment in (1, 2):
        one = same[same["experiment"] == experiment]
        found[f"published_{experiment}"] = one["macro_f1"].item() if len(one) else np.nan
        found[f"published_{experiment}_weighted"] = (
            one["weighted_f1"].item() if len(one) else np.nan
        )
    return found


def gather(models: Path) -> Results:
    """All tables, from the finished runs below <models>/models_trans."""
    runs = collect(models)
    differ, more = differences(runs.cells)
    questions, others = contrasts(runs.cells)
    notes = runs.notes + more + others
    return Results(summarise(runs.cells), differ, questions, runs.folds, runs.behind, notes)
