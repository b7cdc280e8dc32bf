"""Summarise the folds of a cross-validation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from lib.artefacts import files, run_record
from lib.artefacts.run_name import RunName
from lib.console import say
from lib.evaluation import predictions_table
from lib.figures import learning_curves
from lib.labels import MEASURE, TASKS
from lib.transfer import recipes, test_scores
from lib.transfer.transfer_job import Job


def summarise(
    job: Job,
    name: RunName,
    parts: Sequence[Path],
    began: float,
    choices: pd.DataFrame | None = None,
) -> dict:
    """Write the results of all folds of the run `name` to its directory; returns the measures.

    Parameters
    ----------
    parts : the finished run directory of each fold
    began : time.time() at the start
    choices : of a nested cross-validation, the table for nested.csv
    """
    run, figures = job.path(name), job.settings["run"]["figures"]
    common = {"model": name.model, "iteration": name.iteration}
    if choices is not None:
        grid = [str(recipe) for recipe in job.plan.grid]
        common["nested"] = {"recipes": grid, "inner": recipes.INNER}
    records = [files.read_json(part / "run.json") for part in parts]
    whole = json.loads(json.dumps(common | {"folds": [record["inputs"] for record in records]}))
    tables = [predictions_table.read(part / predictions_table.PREDICTIONS) for part in parts]
    table = pd.concat(
        [part.assign(fold=number) for number, part in enumerate(tables, 1)], ignore_index=True
    )
    levels = _written(run, whole, table)
    if not levels or "folds" not in levels:
        for file in run_record.OPTIONAL:  # of earlier folds
            (run / file).unlink(missing_ok=True)
        levels = test_scores.write(table, run, name.title, figures)
        histories = [run_record.read_history(part, MEASURE) for part in parts]
        if figures and not any(history.empty for history in histories):
            learning_curves.fold_curves(histories, run / "curves.png", name.title, MEASURE)
        if choices is not None:
            files.write_text(run / run_record.NESTED, choices.to_csv(index=False))
        run_record.write_run(
            run,
            whole,
            _outcome([record["outcome"] for record in records]),
            execution=records[0]["execution"],
            began=began,
            parents={"folds": [record.get("parents") for record in records]},
        )
    f1 = {task: levels["folds"]["clip"][task]["macro_f1"] for task in TASKS}
    shown = ", ".join(f"{task} {v['mean']:.3f} ± {v['sd']:.3f}" for task, v in f1.items())
    say(f"{len(parts)} folds, macro F1 per clip: {shown} (more in {run / 'report.txt'})")
    return levels


def _outcome(folds: Sequence[Mapping]) -> dict:
    """The outcome of a run from those of its folds; either all folds are synthetic or none is."""
    synthetic = any(outcome.get("synthetic") for outcome in folds)
    return {"folds": folds, **({"synthetic": True} if synthetic else {})}


def _written(run: Path, inputs: dict, table: pd.DataFrame) -> dict | None:
    """The measures in `run`, if of these inputs and predictions and no file was changed."""
    record = files.read_json(run / "run.json")
    if not record or record.get("inputs") != inputs:
        return None
    digest = hashlib.sha256(test_scores.csv_text(table).encode()).hexdigest()
    if record.get("files", {}).get(predictions_table.PREDICTIONS) != digest:  # folds trained again
        return None
    if run_record.changed_files(run, record, run_record.READ_LATER):
        return None
    return files.read_json(run / "metrics.json", "remove it; it will be computed again")
