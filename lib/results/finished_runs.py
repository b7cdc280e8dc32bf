"""The cells of the tables: finished transfer runs, by encoder, mode and language pair.

A cell has the iterations that are alike in all that decides them. What cannot stand in the tables
is left out with a note: unfinished or damaged runs, and iterations unlike the most of their cell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lib.artefacts import files, run_name, run_record
from lib.errors import UserError
from lib.evaluation import metrics, predictions_table
from lib.labels import TASKS
from lib.models.catalogue import title, titles
from lib.results import provenance

LEVELS = ("window", "clip")
MODES = {"feat_ext": "Feat. Ext.", "full": "Full", "scratch": "from scratch", "probe": "SVM"}
KEYS = ["model", "mode", "speech", "music"]


@dataclass(frozen=True)
class Cell:
    """The iterations of one encoder, mode and language pair.

    key        : model, mode, speech, music, as run directories spell them
    iterations : their numbers
    measures   : of each, as of lib.evaluation.metrics.evaluate
    clips      : names of the test clips, with their quadrants
    counts     : {level: {task: of each iteration, int (clips, k, k)}}
    """

    key: tuple[str, str, str, str]
    iterations: list[int]
    measures: list[dict]
    clips: list[tuple[str, str]]
    counts: dict[str, dict[str, list[np.ndarray]]]


def collect(models: Path) -> tuple[list[Cell], pd.DataFrame, pd.DataFrame, list[str]]:
    """Every finished transfer run below <models>/models_trans.

    Returns the cells, the cross-validations in long form, the runs behind both (as of
    lib.results.provenance), and notes on what was left out: runs that are unfinished, and
    iterations of other settings or data than the most of their cell.
    """
    groups: dict[tuple, dict[int, tuple]] = {}
    folds, behind, notes = [], [], []
    for run in sorted((models / "models_trans").glob("speech_*_2_music_*/[!.]*.it_*")):
        where = run.relative_to(models / "models_trans")
        parts = parts_of(where.as_posix())
        if parts is None:
            notes.append(f"{where} is not named as a run and left out")
            continue
        key, protocol, iteration = parts
        try:
            record = _record(run / "run.json")
            if record is None:
                notes.append(f"{where} is unfinished and left out")
                continue
            if not (
                run / predictions_table.PREDICTIONS
            ).is_file():  # converted from the authors' files
                notes.append(f"{where} has no {predictions_table.PREDICTIONS} and is left out")
                continue
            run_record.check_files(run, record, [predictions_table.PREDICTIONS])
            table = predictions_table.read(run / predictions_table.PREDICTIONS)
            digest = files.file_hash(run / predictions_table.PREDICTIONS)
            told = provenance.row(where.as_posix(), record, digest)
            if protocol:
                folds += _folds(key, protocol, int(iteration), table)
                behind.append(told)
            else:
                groups.setdefault(key, {})[int(iteration)] = (_alike(record, table), table, told)
        except UserError as error:
            notes.append(f"{where} is left out: {error}")
    cells = []
    for key, runs in groups.items():
        kept = _most_alike(runs)
        out = sorted(set(runs) - set(kept))
        if out:
            notes.append(
                f"{named(key)}: iterations {_listed(out)} have other settings or data than "
                f"{_listed(kept)} and are left out"
            )
        cells.append(_cell_of(key, {number: runs[number][1] for number in kept}))
        behind += [runs[number][2] for number in kept]
    if not cells and not folds:
        raise UserError(
            "\n".join([f"no finished run in {models / 'models_trans'}", *notes])
            + "\ntrain one first, for example\n"
            "  python3 trans_train_denoise_multi.py -s e -m e -mod model_over -rel n"
        )
    order = list(titles())
    order += sorted({cell.key[0] for cell in cells} - set(order))
    cells.sort(key=lambda cell: (order.index(cell.key[0]), cell.key))
    behind = pd.DataFrame(behind, columns=provenance.COLUMNS).sort_values("run")
    return cells, pd.DataFrame(folds, columns=FOLD_COLUMNS), behind, notes


def _record(path: Path) -> dict | None:
    """A run.json, None where there is none; UserError where it is damaged."""
    record = files.read_json(path)
    for name in ("inputs", "parents"):
        if record and not isinstance(record.get(name) or {}, dict):
            raise UserError(f"{path} is damaged ({name}): train that run again with --overwrite")
    return record


FOLD_COLUMNS = [*KEYS, "protocol", "iteration", "level", "task", "folds", "mean", "sd"]


def _folds(key: tuple, protocol: str, iteration: int, table: pd.DataFrame) -> list[dict]:
    """Macro F1 over the folds of a cross-validation, a row per level and task."""
    if "fold" not in table or table["fold"].nunique() < 2:
        raise UserError("its predictions.csv tells no folds")
    found = metrics.over_folds(
        [predictions_table.measures(part) for _, part in table.groupby("fold")]
    )
    rows = []
    for level, tasks in found.items():
        for task, measures in tasks.items():
            f1 = measures["macro_f1"]
            about = (*key, protocol, iteration, level, task)
            values = (*about, len(f1["folds"]), f1["mean"], f1["sd"])
            rows.append(dict(zip(FOLD_COLUMNS, values, strict=True)))
    return rows


def _alike(record: Mapping, table: pd.DataFrame) -> str:
    """What the iterations of one cell must have in common, as text: all that decides them but what
    an iteration has of its own, and the test clips."""
    inputs = record.get("inputs") or {}
    few = {"dataset"} if inputs.get("labels", 1) < 1 else set()  # each draws its own
    parents = {
        step: run_record.settled(of or {}) for step, of in (record.get("parents") or {}).items()
    }
    shared = provenance.without([run_record.settled(inputs), parents], {"iteration"} | few)
    return json.dumps([shared, _clips(table)], sort_keys=True)


def _clips(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Names and quadrants of the clips, in order."""
    clips = table.drop_duplicates("recording")[["recording", "quadrants"]]
    return sorted(clips.itertuples(index=False, name=None))


def _most_alike(runs: Mapping[int, tuple]) -> list[int]:
    """The largest set of iterations with the same inputs; of equals the one with the lowest."""
    sets: dict[str, list[int]] = {}
    for number in sorted(runs):
        sets.setdefault(runs[number][0], []).append(number)
    return max(sets.values(), key=len)


def _cell_of(key: tuple, tables: Mapping[int, pd.DataFrame]) -> Cell:
    counts = {level: {task: [] for task in TASKS} for level in LEVELS}
    for table in tables.values():
        names, recording = np.unique(table["recording"], return_inverse=True)
        for task, k in ((task, len(classes)) for task, classes in TASKS.items()):
            true = predictions_table.labels_of(table)[task]
            p = predictions_table.probabilities_of(table)[task]
            _, first = np.unique(recording, return_index=True)
            mean = metrics.mean_by(p, recording, len(names))
            for level, (of, t, guess) in {
                "window": (recording, true, p.argmax(axis=1)),
                "clip": (np.arange(len(names)), true[first], mean.argmax(axis=1)),
            }.items():
                found = np.zeros((len(names), k, k), np.int64)
                np.add.at(found, (of, t, guess), 1)
                counts[level][task].append(found)
    measures = [predictions_table.measures(table) for table in tables.values()]
    return Cell(key, list(tables), measures, _clips(table), counts)


def parts_of(where: str) -> tuple[tuple[str, str, str, str], str | None, str] | None:
    """Key of the cell, protocol of a cross-validation and number of a run, from its directory below
    models_trans; None where that is not named as a run."""
    name = run_name.RUN.fullmatch(where)
    if name is None:
        return None
    speech, music, model, mode, tag, protocol, iteration = name.groups()
    return (
        (f"{model}.{tag}" if tag else model, mode or "scratch", speech, music),
        protocol,
        iteration,
    )


def named(key: tuple) -> str:
    """A cell by the names of the paper."""
    model, mode, speech, music = key
    pair = f"{speech} → {music}" if speech != "none" else music
    return f"{title(model)} {MODES.get(mode, '')} {pair}"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
