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

from lib import artefacts, comparison, evaluation, provenance, scoring
from lib.cells import KEYS, LEVELS, MODES, Cell, collect, named
from lib.cli import say
from lib.config import ROOT
from lib.errors import UserError
from lib.evaluation import MEASURES
from lib.registry import BASELINES, SHORT, TASKS, TITLES, title

PUBLISHED = ROOT / "docs" / "published_runs.csv"
SEED = 0  # of the bootstrap
AGAIN = "train that run again with --overwrite"
SHOWN = 30  # mismatches that are told one by one


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
    """Macro F1 of every cell minus that of the CNN from scratch, on the same clips.

    Returns a row per level, task and cell with difference, low, high (95 %), all_low, all_high
    (95 %, all cells of the same music, level and task at once) and p (corrected likewise); and
    notes on cells that cannot be compared.
    """
    rows, notes = [], []
    for music in dict.fromkeys(cell.key[3] for cell in cells):
        here = [cell for cell in cells if cell.key[3] == music]
        base = next((cell for cell in here if cell.key[0] == BASELINES[0]), None)
        transfers = [cell for cell in here if cell is not base]
        if base is None:
            notes.append(f"no {BASELINES[0]} of {music} music: no differences from it")
            continue
        other = [cell for cell in transfers if cell.clips != base.clips]
        notes += [
            f"{named(c.key)} was tested on other clips, or other labels, than the baseline: no "
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
                    about = f"{title(model)} {MODES[mode]}, {music} music"
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
    cells, folds, runs, notes = collect(models)
    differ, more = differences(cells)
    questions, others = contrasts(cells)
    return Results(summarise(cells), differ, questions, folds, runs, notes + more + others)


def results(models: Path, out: Path) -> str:
    """Write all tables, the figure and the page to `out`; returns the text for the terminal."""
    from lib import plots, report, typeset

    found = gather(models)
    for note in found.notes:
        say(note)
    _check_out(out)
    texts = _texts(found)
    for name, text in texts.items():
        artefacts.write_text(out / name, text)
    if len(found.cells):
        titles = {model: title(model) for model in (*TITLES, *found.cells["model"])}
        plots.table(found.cells, MODES, titles, out / "table.png")
    page = report.page(models, out, texts["table.md"], found.runs)
    artefacts.write_text(out / "report.html", page)
    return typeset.terminal(found)


FILES = ("runs.csv", "table.csv", "differences.csv", "contrasts.csv", "folds.csv")
FILES += ("table.md", "table.tex")
DRAWN = ("table.png", "table.pdf", "report.html")


def _texts(found: Results) -> dict[str, str]:
    """The content of FILES."""
    from lib import typeset

    tables = (found.runs, found.cells, found.differences, found.contrasts, found.folds)
    texts = [table.to_csv(index=False, float_format="%.6g") for table in tables]
    texts += [typeset.markdown(found), typeset.latex(found)]
    return dict(zip(FILES, texts, strict=True))


def check(models: Path, out: Path) -> str:
    """Compute all of `out` again from the runs' predictions.csv; returns what was checked.

    Raises UserError with everything that does not follow: a table whose numbers differ, a run
    whose metrics.json is not that of its predictions.
    """
    found, wrong = gather(models), []
    lacks = [name for name in FILES if not (out / name).is_file()]
    if lacks:
        raise UserError(f"{out / lacks[0]} is not there: make the tables, python3 results_table.py")
    told = set(pd.read_csv(out / "runs.csv", dtype=str)["run"])
    differ = [f"new: {run}" for run in sorted(set(found.runs["run"]) - told)]
    differ += [f"gone: {run}" for run in sorted(told - set(found.runs["run"]))]
    if differ:
        raise UserError("\n".join([f"{out} is of other runs: make the tables again", *differ]))
    for where in found.runs["run"]:
        run = models / "models_trans" / where
        measures = scoring.measures(scoring.read(run / scoring.PREDICTIONS))
        stands = artefacts.read_json(run / "metrics.json", AGAIN) or {}
        if _rounded({level: stands.get(level) for level in LEVELS}) != _rounded(measures):
            wrong.append(f"{where}: metrics.json is not that of its {scoring.PREDICTIONS}")
    for name, new in _texts(found).items():
        wrong += provenance.mismatches(name, (out / name).read_text(encoding="utf-8"), new)
    if wrong:
        more = [f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        raise UserError("\n".join([f"{len(wrong)} mismatches in {out}", *wrong[:SHOWN], *more]))
    compared = len(found.differences) + len(found.contrasts)
    counts = f"{len(found.cells)} rows, {compared} differences, {len(found.folds)} of folds"
    return f"{counts}, {len(found.runs)} runs: all follow from the predictions"


def _rounded(measures: Mapping) -> dict:
    """As JSON gives them back, with six digits."""
    return json.loads(json.dumps(measures), parse_float=lambda text: round(float(text), 6))


def _check_out(out: Path) -> None:
    """Make the folder for the tables; UserError when files of others stand in the way."""
    artefacts.make_folder(out)
    there = [name for name in (*FILES, *DRAWN) if (out / name).exists()]
    first = out / "table.md"
    own = first.is_file() and first.read_bytes().startswith(b"# Results")
    if there and not own:
        raise UserError(f"{out / there[0]} is not of this suite: choose another folder with --out")
