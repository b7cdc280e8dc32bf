"""Differences of macro F1 from the baseline, and the contrasts that the paper asks for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lib.configuration import ROOT
from lib.evaluation import bootstrap
from lib.labels import SHORT, TASKS
from lib.models.catalogue import BASELINE, title
from lib.results.finished_runs import KEYS, LEVELS, MODES, Cell, named

PUBLISHED = ROOT / "docs" / "published_runs.csv"
SEED = 0  # of the bootstrap


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
        transfers = [cell for cell in here if cell is not base]
        if base is None:
            notes.append(f"no {BASELINE} of {music} music: no differences from it")
            continue
        other = [cell for cell in transfers if cell.clips != base.clips]
        notes += [
            f"{named(c.key)} was tested on other clips, or other labels, than the baseline: no "
            "difference from it"
            for c in other
        ]
        transfers = [cell for cell in transfers if cell.clips == base.clips]
        weights = bootstrap.draws(len(base.clips), SEED)
        for level in LEVELS:
            for task in TASKS:
                value, drawn = bootstrap.resampled(base.counts[level][task], weights)
                pairs = [bootstrap.resampled(c.counts[level][task], weights) for c in transfers]
                found = [(v - value, d - drawn) for v, d in pairs]
                told = bootstrap.simultaneous(*zip(*found, strict=True)) if found else []
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
                weights = bootstrap.draws(len(by_key[keys[0]].clips), seed)
                plus, minus = (
                    [bootstrap.resampled(by_key[k].counts[level]["quadrants"], weights) for k in p]
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
        told = bootstrap.simultaneous([v for _, v, _ in found], [d for _, _, d in found])
        rows += [r | {"difference": v} | t for (r, v, _), t in zip(found, told, strict=True)]
    columns = ["level", "question", "model", "mode", "music", "difference", "low", "high"]
    table = pd.DataFrame(rows, columns=[*columns, "all_low", "all_high", "p", "published"])
    return table, list(dict.fromkeys(notes))
