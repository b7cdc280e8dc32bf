"""The paper's Table 2 from the finished runs.

Rows: encoder x mode x task. Columns: language pair. Cells: macro precision / recall / F1, mean ±
standard deviation over iterations (n - 1 in the denominator), with the published figures next
to them. All is computed from the runs' predictions.csv.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from lib.evaluation import bootstrap, metrics
from lib.evaluation.metrics import MEASURES
from lib.labels import TASKS
from lib.results.contrasts import PUBLISHED, SEED, contrasts, differences
from lib.results.finished_runs import KEYS, LEVELS, Cell, collect

SHOWN = {f"macro_{measure}": measure for measure in MEASURES}  # measure -> its columns
SHOWN |= {measure: measure for measure in ("weighted_f1", "accuracy", "ece")}


@dataclass(frozen=True)
class Results:
    """The content of the tables, each in long form; `tested` and `synthetic` come from
    lib.results.finished_runs."""

    cells: pd.DataFrame
    differences: pd.DataFrame
    contrasts: pd.DataFrame
    folds: pd.DataFrame
    runs: pd.DataFrame
    tested: pd.DataFrame
    synthetic: bool
    notes: list[str]


def summarise(cells: Sequence[Cell]) -> pd.DataFrame:
    """A row per cell, level and task, and chance.

    Columns: level, model, mode, speech, music, task, runs; <measure>_mean and _sd (NaN for a single
    run) of macro precision, recall and F1, weighted F1 and accuracy; f1_low and f1_high, the 95 %
    interval of macro F1 over clips; published_<1|2> and published_<1|2>_weighted, F1 per window.
    """
    if not cells:
        return pd.DataFrame()
    rows = [_row(level, cell, task) for level, cell, task in product(LEVELS, cells, TASKS)]
    table = pd.DataFrame([*rows, *_chance(cells)])
    for number, part in pd.read_csv(PUBLISHED).groupby("experiment"):
        names = {"macro_f1": f"published_{number}", "weighted_f1": f"published_{number}_weighted"}
        part = part[[*KEYS, "task", *names]].rename(columns=names)
        table = table.merge(part.assign(level="window"), how="left", validate="many_to_one")
    return table


def _row(level: str, cell: Cell, task: str) -> dict:
    results = [result[level][task] for result in cell.measures]
    row = {"level": level} | dict(zip(KEYS, cell.key, strict=True))
    row |= {"task": task, "runs": len(results)}
    for measure, name in SHOWN.items():
        values = [result[measure] for result in results]
        row[f"{name}_mean"] = np.mean(values)
        row[f"{name}_sd"] = np.std(values, ddof=1) if len(values) > 1 else np.nan
    weights = bootstrap.draws(len(cell.clips), SEED)
    _, samples = bootstrap.resampled(cell.counts[level][task], weights)
    row["f1_low"], row["f1_high"] = bootstrap.interval(samples)
    return row


def _chance(cells: Sequence[Cell]) -> Iterator[dict]:
    """Rows of chance, for each music on the test clips of its first cell."""
    first = {cell.key[3]: cell for cell in reversed(cells)}
    for music in dict.fromkeys(cell.key[3] for cell in cells):
        for level, task in product(LEVELS, TASKS):
            classes = first[music].measures[0][level][task]["per_class"].values()
            guess = metrics.chance([about["items"] for about in classes])
            row = {"level": level, "model": "chance", "mode": "chance", "speech": "none"}
            row |= {"music": music, "task": task, "runs": 0}
            yield row | {f"{measure}_mean": guess[measure] for measure in MEASURES}


def gather(models: Path) -> Results:
    """All tables, from the finished runs below <models>/models_trans.

    With synthetic sound, the published figures are left empty.
    """
    runs = collect(models)
    cells = summarise(runs.cells)
    from_baseline, uncompared = differences(runs.cells)
    questions, unanswered = contrasts(runs.cells)
    if runs.synthetic:
        cells, questions = _without_published(cells), _without_published(questions)
    return Results(
        cells=cells,
        differences=from_baseline,
        contrasts=questions,
        folds=runs.folds,
        runs=runs.behind,
        tested=runs.tested,
        synthetic=runs.synthetic,
        notes=[*runs.notes, *uncompared, *unanswered],
    )


def _without_published(table: pd.DataFrame) -> pd.DataFrame:
    """The same table; the columns of published figures are empty."""
    published = [column for column in table if column.startswith("published")]
    return table.assign(**dict.fromkeys(published, np.nan))
