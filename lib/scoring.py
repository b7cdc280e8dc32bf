"""What a transfer run leaves of its test: predictions, measures, report and figures.

predictions.csv has a row per window: recording, start_seconds, and per task the true class and the
probability of each (p_<task>_<class>); of a cross-validation also the fold. All else follows from
it. Probabilities have the nine digits that a float32 needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from lib import artefacts, evaluation, plots
from lib.audio import window_seconds
from lib.errors import UserError
from lib.registry import TASKS
from lib.windows import Windows

PREDICTIONS = "predictions.csv"


def predictions(
    windows: Windows, probabilities: Mapping[str, np.ndarray], features: Mapping
) -> pd.DataFrame:
    """The table of all windows; probabilities : {task: float32 (n_windows, classes)}."""
    true = windows.labels()
    columns = {
        "recording": windows.table["recording"].to_numpy()[windows.recording],
        "start_seconds": np.round(window_seconds(windows.local, features), 3),
    }
    for task, classes in TASKS.items():
        columns[task] = np.array(classes)[true[task]]
        for name, values in zip(columns_of(task), probabilities[task].T, strict=True):
            columns[name] = values
    return pd.DataFrame(columns)


def columns_of(task: str) -> list[str]:
    """The columns with the probabilities of a task."""
    return [f"p_{task}_{name}" for name in TASKS[task]]


def read(path: Path) -> pd.DataFrame:
    """A predictions.csv; UserError when it is missing or not one."""
    numbers = [name for task in TASKS for name in columns_of(task)]
    needed, again = ["recording", *TASKS, *numbers], "train that run again (--overwrite)"
    try:
        # a clip may be called NA
        table = pd.read_csv(path, dtype={"recording": str}, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): {again}") from error
    lacks = [name for name in needed if name not in table]
    if lacks or table.empty:
        what = f"lacks the columns {', '.join(lacks)}" if lacks else "holds no window"
        raise UserError(f"{path} {what}: {again}")
    table[numbers] = table[numbers].apply(pd.to_numeric, errors="coerce")
    if not table[numbers].apply(lambda p: p.between(0, 1)).all(axis=None):
        raise UserError(f"{path} holds probabilities that are not in [0, 1]: {again}")
    for task, classes in TASKS.items():
        if not table[task].isin(classes).all():
            raise UserError(f"{path} has classes of {task} that are none of {', '.join(classes)}")
    return table


def labels_of(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Class index per window and task : int64 (n_windows,)."""
    return {
        task: pd.Categorical(table[task], categories=list(classes)).codes.astype(np.int64)
        for task, classes in TASKS.items()
    }


def probabilities_of(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Probabilities per window and task : float32 (n_windows, classes)."""
    return {task: table[columns_of(task)].to_numpy(np.float32) for task in TASKS}


def measures(table: pd.DataFrame) -> dict:
    """Measures per window and per clip of a predictions table, as of lib.evaluation.evaluate."""
    recording = pd.factorize(table["recording"])[0]
    return evaluation.evaluate(labels_of(table), probabilities_of(table), recording, TASKS)


def write(table: pd.DataFrame, folder: Path, title: str, figures: bool = True) -> dict:
    """Write predictions.csv, metrics.json, report.txt and the figures; returns the measures.

    figures : False leaves them out: of a fold, whose cross-validation has those of all folds

    A table with the column `fold` is a cross-validation's: mean and standard deviation over the
    folds stand beside the measures of all its predictions.
    """
    levels, folds = measures(table), None
    if "fold" in table:
        folds = evaluation.over_folds([measures(part) for _, part in table.groupby("fold")])
    artefacts.write_text(folder / PREDICTIONS, table.to_csv(index=False, float_format="%.9g"))
    artefacts.write_json(folder / "metrics.json", levels | ({"folds": folds} if folds else {}))
    artefacts.write_text(folder / "report.txt", evaluation.report(levels, title, folds))
    if figures:
        plots.confusions(levels, folder / "confusion.png", title)
        plots.reliability(levels, folder / "reliability.png", title)
    return levels if folds is None else levels | {"folds": folds}
