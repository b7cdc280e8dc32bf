"""Differences of macro F1 from the baseline, and the contrasts that answer the paper's questions.

An estimate is the row of a table and a sample : float64 (1 + draws,), the value followed by its
value in each bootstrap draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd

from lib.configuration import ROOT
from lib.evaluation import bootstrap
from lib.labels import SHORT_NAMES, TASKS
from lib.models.catalogue import BASELINE, title
from lib.results.finished_runs import KEYS, LEVELS, MODES, Cell, named
from lib.seeds import BOOTSTRAP

PUBLISHED = ROOT / "docs" / "published_runs.csv"
SEED = BOOTSTRAP  # the same in every call, so that --check gets the same intervals
OTHER = "{} was tested on other clips or with other labels than the baseline: it is not compared"
ESTIMATE = ["difference", "low", "high", "all_low", "all_high", "p"]
DIFFERENCE = ["level", *KEYS, "task", "runs", "baseline_runs", "clips", *ESTIMATE]
CONTRAST = ["level", "question", "model", "mode", "music", *ESTIMATE, "published"]
# question -> (languages of speech with +, with -); `same` is the language of the music, `other`
# the other one
QUESTIONS = {
    "intra- minus cross-linguistic": lambda same, other: ([same], [other]),
    "mixture minus single language": lambda same, other: (["mix"], [same, other]),
}


def differences(cells: Sequence[Cell]) -> tuple[pd.DataFrame, list[str]]:
    """Macro F1 of every cell minus that of the CNN from scratch, on the same clips.

    Returns a row per level, task and cell with difference, low, high (95 %), all_low, all_high
    (95 %, all cells of the same music, level and task at once) and p (corrected likewise); and
    notes on cells that cannot be compared.
    """
    rows, notes = [], []
    for music in dict.fromkeys(cell.key[3] for cell in cells):
        here = [cell for cell in cells if cell.key[3] == music]
        base = next((cell for cell in here if cell.key[0] == BASELINE), None)
        if base is None:
            notes.append(f"no {BASELINE} of {music} music: nothing to compare its transfers with")
            continue
        notes += [OTHER.format(named(cell.key)) for cell in here if cell.clips != base.clips]
        transfers = [cell for cell in here if cell is not base and cell.clips == base.clips]
        for level, task in product(LEVELS, TASKS):
            base_f1 = _macro_f1([base], level, task, SEED)
            about = {"level": level, "task": task, "clips": len(base.clips)}
            about["baseline_runs"] = len(base.iterations)
            estimates = []
            for cell in transfers:
                row = about | dict(zip(KEYS, cell.key, strict=True))
                row["runs"] = len(cell.iterations)
                estimates.append((row, _macro_f1([cell], level, task, SEED) - base_f1))
            rows += _with_intervals(estimates)
    return pd.DataFrame(rows, columns=DIFFERENCE), notes


def contrasts(cells: Sequence[Cell]) -> tuple[pd.DataFrame, list[str]]:
    """The questions of the paper as contrasts of macro F1 of the quadrants.

    A row per level, question, model, mode and music that has all cells of a contrast; model "all"
    is the mean of a question. Columns as in `differences`, and the published value of the same
    contrast (experiment 2), which has no interval.
    """
    questions, notes = _comparable(cells)
    rows = []
    for level in LEVELS:
        estimates = []
        for compared in questions.values():
            samples = []
            for about, sides in compared:
                # the draws differ between kinds of music; the cells of one music share theirs
                seed = SEED + list(SHORT_NAMES.values()).index(about["music"])
                plus, minus = (_macro_f1(side, level, "quadrants", seed) for side in sides)
                samples.append((about | {"level": level}, plus - minus))
            if len(samples) > 1:
                row = samples[0][0] | dict.fromkeys(("model", "mode", "music"), "all")
                row["published"] = np.mean([about["published"] for about, _ in compared])
                samples.append((row, np.mean([sample for _, sample in samples], axis=0)))
            estimates += samples
        rows += _with_intervals(estimates)
    return pd.DataFrame(rows, columns=CONTRAST), notes


def _comparable(cells: Sequence[Cell]) -> tuple[dict[str, list], list[str]]:
    """For each question its contrasts (row, cells with + and cells with -); and notes."""
    by_key = {cell.key: cell for cell in cells}
    published = pd.read_csv(PUBLISHED).query("experiment == 2 and task == 'quadrants'")
    published = published.set_index(KEYS)["macro_f1"].to_dict()
    questions, notes = {question: [] for question in QUESTIONS}, []
    triples = dict.fromkeys((cell.key[0], cell.key[1], cell.key[3]) for cell in cells)
    for (question, speech_of), (model, mode, music) in product(QUESTIONS.items(), triples):
        speech = speech_of(music, "man" if music == "eng" else "eng")
        keys = [[(model, mode, language, music) for language in side] for side in speech]
        if mode == "scratch" or not {*keys[0], *keys[1]} <= set(by_key):
            continue
        sides = [[by_key[key] for key in side] for side in keys]
        if any(cell.clips != sides[0][0].clips for side in sides for cell in side):
            about = f"{title(model)} {MODES[mode]}, {music} music"
            notes.append(f"{question}, {about}: its cells were tested on different clips")
            continue
        plus, minus = (np.mean([published.get(key, np.nan) for key in side]) for side in keys)
        row = {"question": question, "model": model, "mode": mode, "music": music}
        questions[question].append((row | {"published": plus - minus}, sides))
    return questions, notes


def _macro_f1(cells: Sequence[Cell], level: str, task: str, seed: int) -> np.ndarray:
    """The sample of the mean over cells; all cells have the same clips."""
    weights = bootstrap.draws(len(cells[0].clips), seed)
    samples = [bootstrap.resampled(cell.counts[level][task], weights) for cell in cells]
    return np.mean([np.append(*sample) for sample in samples], axis=0)


def _with_intervals(estimates: Sequence[tuple[dict, np.ndarray]]) -> list[dict]:
    """Rows with their difference and its intervals: alone, and for all `estimates` at once."""
    samples = [sample for _, sample in estimates]
    intervals = bootstrap.simultaneous([s[0] for s in samples], [s[1:] for s in samples])
    return [
        row | {"difference": sample[0]} | interval
        for (row, sample), interval in zip(estimates, intervals, strict=True)
    ]
