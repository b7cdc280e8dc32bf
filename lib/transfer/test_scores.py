"""Write the test results of a run: predictions, measures, report and figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from lib.artefacts import files
from lib.datasets.windows import Windows
from lib.evaluation import metrics
from lib.evaluation.predictions_table import PREDICTIONS, measures
from lib.figures import test_figures
from lib.labels import TASKS, columns_of


def predictions(
    windows: Windows, probabilities: Mapping[str, np.ndarray], features: Mapping
) -> pd.DataFrame:
    """The table of all predictions; probabilities : {task: float32 (n_windows, classes)}."""
    true = windows.labels()
    columns = {
        "recording": windows.table["recording"].to_numpy()[windows.recording],
        "start_seconds": np.round(windows.start_seconds(features), 3),
    }
    for task, classes in TASKS.items():
        columns[task] = np.array(classes)[true[task]]
        for name, values in zip(columns_of(task), probabilities[task].T, strict=True):
            columns[name] = values
    return pd.DataFrame(columns)


def csv_text(table: pd.DataFrame) -> str:
    """The content of predictions.csv."""
    return table.to_csv(index=False, float_format="%.9g")


def write(table: pd.DataFrame, folder: Path, title: str, figures: bool = True) -> dict:
    """Write predictions.csv, metrics.json, report.txt and the figures; returns the measures.

    figures : False leaves them out, for a fold: its cross-validation has those of all folds

    A table with the column `fold` is of a cross-validation: mean and standard deviation over the
    folds are added to the measures of all its predictions.
    """
    levels, folds = measures(table), None
    if "fold" in table:
        folds = metrics.over_folds([measures(part) for _, part in table.groupby("fold")])
    files.write_text(folder / PREDICTIONS, csv_text(table))
    files.write_json(folder / "metrics.json", levels | ({"folds": folds} if folds else {}))
    files.write_text(folder / "report.txt", metrics.report(levels, title, folds))
    if figures:
        test_figures.confusions(levels, folder / "confusion.png", title)
        test_figures.reliability(levels, folder / "reliability.png", title)
    return levels if folds is None else levels | {"folds": folds}
