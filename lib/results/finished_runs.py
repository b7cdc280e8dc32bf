"""The cells of the tables: finished transfer runs, by encoder, mode and language pair.

A cell has the iterations that share all settings and data. The tables leave out, with a note,
unfinished and damaged runs and iterations that differ from most others of their cell.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lib.artefacts import files, run_record
from lib.artefacts.run_name import RunName, only_prepares, transfers
from lib.errors import UserError
from lib.evaluation import bootstrap, metrics, predictions_table
from lib.labels import SHORT_NAMES, TASKS
from lib.models.catalogue import name_codes, title, titles
from lib.results import provenance
from lib.seeds import BOOTSTRAP

LEVELS = ("window", "clip")
NESTED = " (nested)"  # inner folds choose the recipe (for an SVM: C)
MODES = {"feat_ext": "Feat. Ext.", "full": "Full", "scratch": "from scratch"}
MODES |= {"probe": f"SVM{NESTED}"}
KEYS = ["model", "mode", "speech", "music"]
FOLD_COLUMNS = [*KEYS, "protocol", "nested", "iteration", "level", "task", "folds", "mean", "sd"]
FOLD_COLUMNS += ["low", "high"]
Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Cell:
    """The iterations of one encoder, mode and language pair.

    key        : from key_of
    iterations : their numbers
    measures   : one per iteration, from lib.evaluation.metrics.evaluate
    clips      : names of the test clips, with their quadrants
    counts     : {level: {task: one per iteration, int (clips, k, k)}}
    """

    key: Key
    iterations: list[int]
    measures: list[dict]
    clips: list[tuple[str, str]]
    counts: dict[str, dict[str, list[np.ndarray]]]


@dataclass(frozen=True)
class FinishedRuns:
    """Everything that the tables are computed from.

    cells     : in the order of the tables
    folds     : the cross-validations in long form, with FOLD_COLUMNS
    behind    : the runs behind both, with the columns of lib.results.provenance
    tested    : a row per run behind: music, folds (whether cross-validated), clips
    synthetic : whether any of these runs used synthetic sound
    notes     : what is left out, and why
    """

    cells: list[Cell]
    folds: pd.DataFrame
    behind: pd.DataFrame
    tested: pd.DataFrame
    synthetic: bool
    notes: list[str]


@dataclass(frozen=True)
class _Run:
    """A finished run: its predictions, what it shares with its cell, its rows of `behind` and of
    `tested`, and whether its sound is synthetic.

    A cross-validation belongs to no cell: its `shared` is "".
    """

    table: pd.DataFrame
    shared: str
    provenance: dict
    tested: tuple[str, bool, int]
    synthetic: bool


def collect(models: Path) -> FinishedRuns:
    """Every finished transfer run below <models>/models_trans; UserError where there is none."""
    runs: dict[Key, dict[int, _Run]] = {}
    folds, behind, notes = [], [], []
    for path in transfers(models):
        if only_prepares(path):
            continue
        try:
            name = RunName.parse(path)
            run = _read(path, name)
            if name.folds:
                folds += _folds(name, run.table)
                behind.append(run)
            else:
                runs.setdefault(key_of(name), {})[name.iteration] = run
        except UserError as error:
            notes.append(f"{_below(path)} is left out: {error}")
    if not runs and not folds:
        raise UserError(
            "\n".join([f"no finished run in {models / 'models_trans'}", *notes])
            + "\ntrain one first, for example\n"
            "  python3 trans_train_denoise_multi.py -s e -m e -mod model_over -rel n"
        )
    cells = []
    for key, by_iteration in runs.items():
        kept = _most_alike(by_iteration)
        rest = sorted(set(by_iteration) - set(kept))
        if rest:
            notes.append(
                f"{named(key)}: iterations {_listed(rest)} have other settings or data than "
                f"{_listed(kept)} and are left out"
            )
        cells.append(_cell(key, {number: by_iteration[number].table for number in kept}))
        behind += [by_iteration[number] for number in kept]
    order = [*titles(), *sorted({cell.key[0] for cell in cells} - set(titles()))]
    cells.sort(key=lambda cell: (order.index(cell.key[0]), cell.key))
    return _together(cells, pd.DataFrame(folds, columns=FOLD_COLUMNS), behind, notes)


def _together(
    cells: list[Cell], folds: pd.DataFrame, behind: list[_Run], notes: list[str]
) -> FinishedRuns:
    """The finished runs; with a note where only some of the runs used synthetic sound."""
    table = pd.DataFrame([run.provenance for run in behind], columns=provenance.COLUMNS)
    tested = pd.DataFrame([run.tested for run in behind], columns=["music", "folds", "clips"])
    synthetic = sum(run.synthetic for run in behind)
    if 0 < synthetic < len(behind):
        text = f"{synthetic} of {len(behind)} runs used synthetic sound, so all count as synthetic"
        notes = [*notes, text]
    return FinishedRuns(cells, folds, table.sort_values("run"), tested, synthetic > 0, notes)


def key_of(name: RunName) -> Key:
    """The cell of a run: model with its tag, mode, speech and music, spelled as in its path."""
    model = f"{name.model}.{name.tag}" if name.tag else name.model
    return model, name.mode, SHORT_NAMES[name.speech], SHORT_NAMES[name.music]


def named(key: Key) -> str:
    """A cell, in the words of the paper."""
    model, mode, speech, music = key
    pair = f"{speech} → {music}" if speech != "none" else music
    return f"{title(model)} {MODES[mode]} {pair}"


def _below(path: Path) -> str:
    """The name of a run in notes and in runs.csv: its directory below models_trans."""
    return f"{path.parent.name}/{path.name}"


def _read(path: Path, name: RunName | None) -> _Run:
    """Read a finished run; UserError says why the tables leave it out."""
    if name is None:
        raise UserError("it is not named as a run")
    record = files.read_json(path / "run.json")
    if record is None:
        raise UserError("it is unfinished")
    for part in ("inputs", "parents"):
        if not isinstance(record.get(part) or {}, dict):
            raise UserError(
                f"{path / 'run.json'} is damaged ({part}): train that run again with --overwrite"
            )
    predictions = path / predictions_table.PREDICTIONS
    if not predictions.is_file():  # converted from the authors' files
        raise UserError(f"it has no {predictions.name}")
    run_record.check_files(path, record, [predictions.name, run_record.NESTED])
    table = predictions_table.read(predictions)
    _name_codes(name.model, record)
    row = provenance.row(_below(path), record, files.file_hash(predictions))
    shared = "" if name.folds else _shared(record, table)
    tested = (SHORT_NAMES[name.music], bool(name.folds), table["recording"].nunique())
    outcome = record.get("outcome")
    synthetic = isinstance(outcome, dict) and outcome.get("synthetic") is True
    return _Run(table, shared, row, tested, synthetic)


def _name_codes(model: str, record: Mapping) -> None:
    """Make the tables show codes from files under the titles in a run's record."""
    for codes in provenance.values_of(record.get("inputs") or {}, "codes"):
        if isinstance(codes, list) and all(isinstance(about, Mapping) for about in codes):
            name_codes(model, " + ".join(str(about.get("title")) for about in codes))


def _folds(name: RunName, table: pd.DataFrame) -> list[dict]:
    """Macro F1 over the folds of a cross-validation, a row per level and task, with the 95 %
    interval over clips of the macro F1 of all folds together."""
    if "fold" not in table or table["fold"].nunique() < 2:
        raise UserError("its predictions.csv has no folds")
    levels = metrics.over_folds(
        [predictions_table.measures(part) for _, part in table.groupby("fold")]
    )
    rows, counts = [], predictions_table.confusions(table)
    weights = bootstrap.draws(table["recording"].nunique(), BOOTSTRAP)
    for level, tasks in levels.items():
        for task, measures in tasks.items():
            f1 = measures["macro_f1"]
            about = (*key_of(name), name.folds, name.nested, name.iteration, level, task)
            _, drawn = bootstrap.resampled([counts[level][task]], weights)
            values = (*about, len(f1["folds"]), f1["mean"], f1["sd"], *bootstrap.interval(drawn))
            rows.append(dict(zip(FOLD_COLUMNS, values, strict=True)))
    return rows


def _shared(record: Mapping, table: pd.DataFrame) -> str:
    """What the iterations of one cell must share, as text: the test clips, and all settings and
    data except those that differ by iteration."""
    inputs = record.get("inputs") or {}
    few = {"dataset"} if inputs.get("labels", 1) < 1 else set()  # each draws its own clips
    parents = record.get("parents") or {}
    settled = {step: run_record.settled(of or {}) for step, of in parents.items()}
    shared = provenance.without([run_record.settled(inputs), settled], {"iteration"} | few)
    return json.dumps([shared, _clips(table)], sort_keys=True)


def _clips(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Names and quadrants of the clips, in order."""
    clips = table.drop_duplicates("recording")[["recording", "quadrants"]]
    return sorted(clips.itertuples(index=False, name=None))


def _most_alike(runs: Mapping[int, _Run]) -> list[int]:
    """The largest set of iterations that share all; in a tie, the one with the lowest number."""
    sets: dict[str, list[int]] = {}
    for number in sorted(runs):
        sets.setdefault(runs[number].shared, []).append(number)
    return max(sets.values(), key=len)


def _cell(key: Key, tables: Mapping[int, pd.DataFrame]) -> Cell:
    each = list(map(predictions_table.confusions, tables.values()))
    counts = {
        level: {task: [run[level][task] for run in each] for task in TASKS} for level in LEVELS
    }
    measures = [predictions_table.measures(table) for table in tables.values()]
    # the iterations share their clips
    return Cell(key, list(tables), measures, _clips(next(iter(tables.values()))), counts)


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
