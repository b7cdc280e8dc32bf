"""Read, check and score predictions.csv of a finished run.

It has a row per window: recording, start_seconds, and per task the true class and the probability
of each (p_<task>_<class>); a cross-validation adds the fold. All measures follow from this table.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lib.errors import UserError
from lib.evaluation import metrics
from lib.labels import TASKS, columns_of

PREDICTIONS = "predictions.csv"


def read(path: Path) -> pd.DataFrame:
    """Read a predictions.csv; UserError when it is missing or not valid."""
    numbers = [name for task in TASKS for name in columns_of(task)]
    advice = "train that run again (--overwrite)"
    try:
        # a clip may be called NA
        table = pd.read_csv(path, dtype={"recording": str}, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): {advice}") from error
    lacking = [name for name in ("recording", *TASKS, *numbers) if name not in table]
    if lacking:
        raise UserError(f"{path} lacks the columns {', '.join(lacking)}: {advice}")
    if table.empty:
        raise UserError(f"{path} holds no window: {advice}")
    table[numbers] = table[numbers].apply(pd.to_numeric, errors="coerce")
    if not ((table[numbers] >= 0) & (table[numbers] <= 1)).all(axis=None):
        raise UserError(f"{path} holds probabilities that are not in [0, 1]: {advice}")
    for task, classes in TASKS.items():
        if not table[task].isin(classes).all():
            raise UserError(f"{path} has classes of {task} other than {', '.join(classes)}")
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
    """Measures per window and per clip of a predictions table, as in metrics.evaluate."""
    recording = pd.factorize(table["recording"])[0]
    return metrics.evaluate(labels_of(table), probabilities_of(table), recording, TASKS)


def confusions(table: pd.DataFrame) -> dict[str, dict[str, np.ndarray]]:
    """The confusion matrix of each clip, of its windows and of its single prediction.

    Returns {"window" or "clip": {task: int64 (clips, k, k), rows: true}}, clips sorted by name.
    """
    names, first, recording = np.unique(table["recording"], return_index=True, return_inverse=True)
    labels = labels_of(table)
    counts: dict[str, dict[str, np.ndarray]] = {"window": {}, "clip": {}}
    for task, p in probabilities_of(table).items():
        mean = metrics.mean_by(p, recording, len(names))
        for level, clip, true, guess in (
            ("window", recording, labels[task], p.argmax(axis=1)),
            ("clip", np.arange(len(names)), labels[task][first], mean.argmax(axis=1)),
        ):
            counts[level][task] = np.zeros((len(names), p.shape[1], p.shape[1]), np.int64)
            np.add.at(counts[level][task], (clip, true, guess), 1)
    return counts
