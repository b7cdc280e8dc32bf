"""The tables of results: the paper's Table 2 from the finished runs, and what it can be held to.

Rows: encoder x mode x task. Columns: language pair. Cells: macro precision / recall / F1, mean ±
standard deviation over iterations (n - 1 in the denominator). Beside them the published figures,
differences from the baseline from scratch and the contrasts that the paper asks for, with intervals
(lib.comparison), and cross-validations. All is computed from the runs' predictions.csv.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lib import artefacts, comparison, evaluation, scoring
from lib.cli import say
from lib.config import ROOT
from lib.errors import UserError
from lib.evaluation import MEASURES
from lib.registry import SHORT, TASKS, TITLES

PUBLISHED = ROOT / "docs" / "published_runs.csv"
LEVELS = ("window", "clip")
MODES = {"feat_ext": "Feat. Ext.", "full": "Full", "scratch": "from scratch"}
KEYS = ["model", "mode", "speech", "music"]
SEED = 0  # of the bootstrap


@dataclass(frozen=True)
class Cell:
    """The iterations of one encoder, mode and language pair.

    key        : model, mode, speech, music, as run directories spell them
    iterations : their numbers
    measures   : of each, as of lib.evaluation.evaluate
    clips      : names of the test clips, with their quadrants
    counts     : {level: {task: of each iteration, int (clips, k, k)}}
    """

    key: tuple[str, str, str, str]
    iterations: list[int]
    measures: list[dict]
    clips: list[tuple[str, str]]
    counts: dict[str, dict[str, list[np.ndarray]]]


@dataclass(frozen=True)
class Results:
    """All that the tables show, each as a table in long form."""

    cells: pd.DataFrame
    differences: pd.DataFrame
    contrasts: pd.DataFrame
    folds: pd.DataFrame
    notes: list[str]


def collect(models: Path) -> tuple[list[Cell], pd.DataFrame, list[str]]:
    """Every finished transfer run below <models>/models_trans.

    Returns the cells, the cross-validations in long form, and notes on what was left out: runs that
    are unfinished, and iterations of other settings or data than the most of their cell.
    """
    groups: dict[tuple, dict[int, tuple]] = {}
    folds, notes = [], []
    for run in sorted((models / "models_trans").glob("speech_*_2_music_*/[!.]*.it_*")):
        where = run.relative_to(models / "models_trans")
        name = artefacts.RUN.fullmatch(where.as_posix())
        if name is None:
            notes.append(f"{where} is not named as a run and left out")
            continue
        speech, music, model, mode, protocol, iteration = name.groups()
        key = (model, mode or "scratch", speech, music)
        try:
            record = artefacts.read_json(run / "run.json")
            if record is None:
                notes.append(f"{where} is unfinished and left out")
                continue
            if not (run / scoring.PREDICTIONS).is_file():  # converted from the authors' files
                notes.append(f"{where} has no {scoring.PREDICTIONS} and is left out")
                continue
            table = scoring.read(run / scoring.PREDICTIONS)
            if protocol:
                folds += _folds(key, protocol, int(iteration), table)
            else:
                groups.setdefault(key, {})[int(iteration)] = (_alike(record, table), table)
        except UserError as error:
            notes.append(f"{where} is left out: {error}")
    cells = []
    for key, runs in groups.items():
        kept = _most_alike(runs)
        out = sorted(set(runs) - set(kept))
        if out:
            notes.append(
                f"{_named(key)}: iterations {_listed(out)} have other settings or data than "
                f"{_listed(kept)} and are left out"
            )
        cells.append(_cell_of(key, {number: runs[number][1] for number in kept}))
    if not cells and not folds:
        raise UserError(
            f"no finished run in {models / 'models_trans'}: train one first, for example\n"
            "  python3 trans_train_denoise_multi.py -s e -m e -mod model_over -rel n"
        )
    order = list(TITLES)
    cells.sort(
        key=lambda cell: (order.index(cell.key[0]) if cell.key[0] in order else 99, cell.key)
    )
    return cells, pd.DataFrame(folds, columns=FOLD_COLUMNS), notes


FOLD_COLUMNS = [*KEYS, "protocol", "iteration", "level", "task", "folds", "mean", "sd"]


def _folds(key: tuple, protocol: str, iteration: int, table: pd.DataFrame) -> list[dict]:
    """Macro F1 over the folds of a cross-validation, a row per level and task."""
    if "fold" not in table or table["fold"].nunique() < 2:
        raise UserError("its predictions.csv tells no folds")
    found = evaluation.over_folds([scoring.measures(part) for _, part in table.groupby("fold")])
    rows = []
    for level, tasks in found.items():
        for task, measures in tasks.items():
            f1 = measures["macro_f1"]
            values = (
                *key,
                protocol,
                iteration,
                level,
                task,
                len(f1["folds"]),
                f1["mean"],
                f1["sd"],
            )
            rows.append(dict(zip(FOLD_COLUMNS, values, strict=True)))
    return rows


def _alike(record: Mapping, table: pd.DataFrame) -> str:
    """What the iterations of one cell must have in common, as text: all that decides them but what
    an iteration has of its own, and the test clips."""

    def shared(item: object) -> object:
        if not isinstance(item, Mapping):
            return item
        # an iteration's number, and hashes of the models that it goes on from
        own = {k for k in ("encoder", "feat_ext") if isinstance(item.get(k), str)} | {"iteration"}
        return {k: shared(v) for k, v in item.items() if k not in own}

    inputs = [record.get("inputs"), record.get("parents")]
    return json.dumps([*map(shared, inputs), _clips(table)], sort_keys=True)


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
            true = scoring.labels_of(table)[task]
            p = scoring.probabilities_of(table)[task]
            _, first = np.unique(recording, return_index=True)
            mean = evaluation.mean_by(p, recording, len(names))
            for level, (of, t, guess) in {
                "window": (recording, true, p.argmax(axis=1)),
                "clip": (np.arange(len(names)), true[first], mean.argmax(axis=1)),
            }.items():
                found = np.zeros((len(names), k, k), np.int64)
                np.add.at(found, (of, t, guess), 1)
                counts[level][task].append(found)
    measures = [scoring.measures(table) for table in tables.values()]
    return Cell(key, list(tables), measures, _clips(table), counts)


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
            weights = comparison.draws(len(cell.clips), SEED)
            for task in TASKS:
                results = [one[level][task] for one in cell.measures]
                row = {"level": level, **dict(zip(KEYS, cell.key, strict=True)), "task": task}
                row["runs"] = len(results)
                for name, short in shown.items():
                    values = [result[name] for result in results]
                    row[f"{short}_mean"] = np.mean(values)
                    row[f"{short}_sd"] = np.std(values, ddof=1) if len(values) > 1 else np.nan
                _, samples = comparison.resampled(cell.counts[level][task], weights)
                row["f1_low"], row["f1_high"] = comparison.interval(samples)
                if level == "window":
                    row |= _published(published, row)
                rows.append(row)
    for music in dict.fromkeys(cell.key[3] for cell in cells):
        cell = next(cell for cell in cells if cell.key[3] == music)
        for level in LEVELS:
            for task in TASKS:
                items = [c["items"] for c in cell.measures[0][level][task]["per_class"].values()]
                guess = evaluation.chance(items)
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


def differences(cells: Sequence[Cell]) -> tuple[pd.DataFrame, list[str]]:
    """Macro F1 of every transfer minus that of the baseline from scratch, on the same clips.

    Returns a row per level, task and cell with difference, low, high (95 %), all_low, all_high
    (95 %, all cells of the same music, level and task at once) and p (corrected likewise); and
    notes on cells that cannot be compared.
    """
    rows, notes = [], []
    for music in dict.fromkeys(cell.key[3] for cell in cells):
        here = [cell for cell in cells if cell.key[3] == music]
        base = next((cell for cell in here if cell.key[1] == "scratch"), None)
        transfers = [cell for cell in here if cell.key[1] != "scratch"]
        if base is None:
            notes.append(f"no baseline from scratch of {music} music: no differences from it")
            continue
        other = [cell for cell in transfers if cell.clips != base.clips]
        notes += [
            f"{_named(c.key)} was tested on other clips, or other labels, than the baseline: no "
            "difference from it"
            for c in other
        ]
        transfers = [cell for cell in transfers if cell.clips == base.clips]
        weights = comparison.draws(len(base.clips), SEED)
        for level in LEVELS:
            for task in TASKS:
                value, drawn = comparison.resampled(base.counts[level][task], weights)
                pairs = [comparison.resampled(c.counts[level][task], weights) for c in transfers]
                found = [(v - value, d - drawn) for v, d in pairs]
                told = comparison.simultaneous(*zip(*found, strict=True)) if found else []
                for cell, (difference, _), about in zip(transfers, found, told, strict=True):
                    row = {"level": level, **dict(zip(KEYS, cell.key, strict=True)), "task": task}
                    row |= {"runs": len(cell.iterations), "baseline_runs": len(base.iterations)}
                    rows.append(row | {"clips": len(base.clips), "difference": difference} | about)
    return pd.DataFrame(rows, columns=[*DIFFERENCE]), notes


DIFFERENCE = ["level", *KEYS, "task", "runs", "baseline_runs", "clips", "difference"]
DIFFERENCE += ["low", "high", "all_low", "all_high", "p"]

# question -> (speech languages with +, with -) for a language of music and the other one
QUESTIONS = {
    "intra- minus cross-linguistic": lambda own, other: ([own], [other]),
    "mixture minus single language": lambda own, other: (["mix"], [own, other]),
}


def contrasts(cells: Sequence[Cell]) -> tuple[pd.DataFrame, list[str]]:
    """The questions of the paper as contrasts of macro F1 of the quadrants.

    For each encoder, mode and music that has all cells of a contrast, and their mean; with the
    published values of the same contrast (experiment 2), which have no intervals. A row per level,
    question, model, mode, music: columns as of `differences`; model "all" is the mean.
    """
    by_key = {cell.key: cell for cell in cells}
    published = pd.read_csv(PUBLISHED)
    published = published[(published["experiment"] == 2) & (published["task"] == "quadrants")]
    printed = published.set_index(KEYS)["macro_f1"].to_dict()
    rows, notes = [], []
    for level in LEVELS:
        found = []
        for question, of in QUESTIONS.items():
            every = []
            for model, mode, music in dict.fromkeys((k[0], k[1], k[3]) for k in by_key):
                other = "man" if music == "eng" else "eng"
                signed = [[(model, mode, s, music) for s in part] for part in of(music, other)]
                keys = [key for part in signed for key in part]
                if mode == "scratch" or not all(key in by_key for key in keys):
                    continue
                if len({tuple(by_key[key].clips) for key in keys}) > 1:
                    about = f"{TITLES.get(model, model)} {MODES[mode]}, {music} music"
                    notes.append(f"{question}, {about}: its cells were tested on different clips")
                    continue
                # each music has draws of its own; those of its cells are paired
                seed = SEED + list(SHORT.values()).index(music)
                weights = comparison.draws(len(by_key[keys[0]].clips), seed)
                plus, minus = (
                    [comparison.resampled(by_key[k].counts[level]["quadrants"], weights) for k in p]
                    for p in signed
                )
                value, drawn = (
                    np.mean([side[i] for side in plus], axis=0)
                    - np.mean([side[i] for side in minus], axis=0)
                    for i in (0, 1)
                )
                there = [[printed.get(key, np.nan) for key in part] for part in signed]
                row = {"level": level, "question": question, "model": model, "mode": mode}
                row |= {"music": music, "published": np.mean(there[0]) - np.mean(there[1])}
                every.append((row, float(value), drawn))
            if len(every) > 1:
                row = {"level": level, "question": question, "model": "all", "mode": "all"}
                row |= {"music": "all", "published": np.mean([r["published"] for r, _, _ in every])}
                mean = (
                    np.mean([v for _, v, _ in every]),
                    np.mean([d for _, _, d in every], axis=0),
                )
                every.append((row, float(mean[0]), mean[1]))
            found += every
        told = comparison.simultaneous([v for _, v, _ in found], [d for _, _, d in found])
        rows += [r | {"difference": v} | t for (r, v, _), t in zip(found, told, strict=True)]
    columns = ["level", "question", "model", "mode", "music", "difference", "low", "high"]
    table = pd.DataFrame(rows, columns=[*columns, "all_low", "all_high", "p", "published"])
    return table, list(dict.fromkeys(notes))


def gather(models: Path) -> Results:
    """All tables, from the finished runs below <models>/models_trans."""
    cells, folds, notes = collect(models)
    differ, more = differences(cells)
    questions, others = contrasts(cells)
    return Results(summarise(cells), differ, questions, folds, notes + more + others)


def _named(key: tuple) -> str:
    model, mode, speech, music = key
    pair = f"{speech} → {music}" if speech != "none" else music
    return f"{TITLES.get(model, model)} {MODES.get(mode, '')} {pair}"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def results(models: Path, out: Path) -> str:
    """Write all tables and the figure to `out`; returns the text for the terminal."""
    from lib import plots, typeset

    found = gather(models)
    for note in found.notes:
        say(note)
    _check_out(out)
    artefacts.write_text(out / "table.md", typeset.markdown(found))
    artefacts.write_text(out / "table.tex", typeset.latex(found))
    for name, table in (
        ("table", found.cells),
        ("differences", found.differences),
        ("contrasts", found.contrasts),
        ("folds", found.folds),
    ):
        text = table.to_csv(index=False, float_format="%.6g")
        artefacts.write_text(out / f"{name}.csv", text)
    if len(found.cells):
        plots.table(found.cells, MODES, TITLES, out / "table.png")
    return typeset.terminal(found)


FILES = ("table.md", "table.tex", "table.csv", "differences.csv", "contrasts.csv", "folds.csv")


def _check_out(out: Path) -> None:
    """Make the folder for the tables; UserError when files of others stand in the way."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{out} cannot be made: a file stands in its way") from error
    there = [name for name in (*FILES, "table.png", "table.pdf") if (out / name).exists()]
    first = out / "table.md"
    own = first.is_file() and first.read_bytes().startswith(b"# Results")
    if there and not own:
        raise UserError(f"{out / there[0]} is not of this suite: choose another folder with --out")
