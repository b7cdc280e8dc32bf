"""What the folds of a cross-validation give together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from lib.artefacts import files, run_record
from lib.console import say
from lib.evaluation import predictions_table
from lib.figures import learning_curves
from lib.labels import MEASURE, TASKS
from lib.transfer import test_scores


def summarise(run: Path, parts: list[Path], inputs: Mapping, began: float) -> dict:
    """Write what the folds of a run give together to its directory; returns the measures.

    Parameters
    ----------
    run : the directory that holds the folds
    parts : the finished run directory of each fold
    inputs : what the folds have in common
    began : time.time() at the start
    """
    records = [files.read_json(part / "run.json") for part in parts]
    whole = json.loads(json.dumps(inputs | {"folds": [record["inputs"] for record in records]}))
    there = files.read_json(run / "run.json")
    tables = [predictions_table.read(part / predictions_table.PREDICTIONS) for part in parts]
    together = pd.concat(
        [table.assign(fold=number) for number, table in enumerate(tables, 1)], ignore_index=True
    )
    title = f"{run.parent.name}, {run.name}"
    levels = None
    if there and there.get("inputs") == whole:
        if not run_record.changed_files(run, there, run_record.READ_LATER):
            levels = files.read_json(run / "metrics.json", "remove it, it is computed again")
    if not levels or "folds" not in levels:
        levels = test_scores.write(together, run, title)
        histories = [run_record.read_history(part, MEASURE) for part in parts]
        if not any(history.empty for history in histories):
            learning_curves.fold_curves(histories, run / "curves.png", title, MEASURE)
        outcome = {"folds": [record["outcome"] for record in records]}
        parents = {"folds": [record.get("parents") for record in records]}
        execution = records[0]["execution"]
        run_record.write_run(run, whole, outcome, None, execution, began, parents)
    f1 = {task: levels["folds"]["clip"][task]["macro_f1"] for task in TASKS}
    shown = ", ".join(f"{task} {v['mean']:.3f} ± {v['sd']:.3f}" for task, v in f1.items())
    say(f"{len(parts)} folds, macro F1 per clip: {shown} (more in {run / 'report.txt'})")
    return levels
