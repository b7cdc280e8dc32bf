"""The tables in sentences: how much was tested, and which differences are significant.

Every sentence is computed from the tables; a missing number gives no sentence. Macro F1 is that of
the quadrants per clip; intervals are corrected for the number of comparisons (all_low, all_high).
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from lib.labels import LANGUAGES, SHORT_NAMES
from lib.models.catalogue import title
from lib.results.finished_runs import KEYS, MODES, named
from lib.results.table2 import Results

MUSIC = {SHORT_NAMES[letter]: f"{name.capitalize()} music" for letter, name in LANGUAGES.items()}


def clips_and_runs(runs: pd.DataFrame) -> list[str]:
    """The number of clips and runs, a sentence for each language of music.

    runs : a row per run: music, folds, clips; from lib.results.finished_runs
    """
    texts = []
    for (music, folds), part in runs.groupby(["music", "folds"]):
        low, high = part["clips"].min(), part["clips"].max()
        number = f"{low}" if low == high else f"{low} to {high}"
        kind = f"{number} clips in cross-validation" if folds else f"{number} test clips"
        texts.append(f"{MUSIC[music]}: {kind}, {_counted(len(part), 'run')}")
    return texts


def findings(results: Results) -> list[tuple[str, str]]:
    """(topic, sentence) of each finding."""
    tables = (results.differences, results.contrasts)
    differences, contrasts = (table[table["level"] == "clip"] for table in tables)
    differences = differences[differences["task"] == "quadrants"]
    codes = differences["speech"] == SHORT_NAMES["c"]
    transfers = differences[~codes & (differences["speech"] != SHORT_NAMES["n"])]
    return [
        *_against_scratch(transfers),
        *_against_scratch(differences[codes], ", codes from files"),
        *_contrasts(contrasts),
    ]


def _against_scratch(transfers: pd.DataFrame, kind: str = "") -> Iterator[tuple[str, str]]:
    """For each music, how one kind of transfer compares with the CNN from scratch."""
    for music, part in transfers.groupby("music"):
        better, worse = (part["all_low"] > 0).sum(), (part["all_high"] < 0).sum()
        largest = part.loc[part["difference"].abs().idxmax()]
        yield (
            f"{MUSIC[music]}{kind}",
            f"of {_counted(len(part), 'transfer')}, {_do(better)} significantly better than from "
            f"scratch and {_do(worse)} significantly worse, after correction; the largest "
            f"difference is {_estimate(largest)}, of {named(tuple(largest[KEYS]))}.",
        )


def _contrasts(contrasts: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """For each question the mean of its contrasts, or its only contrast."""
    for question, part in contrasts.groupby("question", sort=False):
        row, single = part.iloc[-1], part[part["model"] != "all"]
        verdict = "no significant difference"
        if _is_significant(row):
            verdict = "better" if row["difference"] > 0 else "worse"
        where = MUSIC.get(row["music"])  # None: the mean over all music
        if where is None:
            count = sum(_is_significant(contrast) for _, contrast in single.iterrows())
            where = f"the mean of {len(single)} contrasts, of which {count or 'none'} "
            where += "is significant" if count < 2 else "are significant"
        else:
            where = f"{title(row['model'])} {MODES[row['mode']]}, {where}"
        topic = question.replace(" minus ", " against ").capitalize()
        yield topic, f"{verdict}, {_estimate(row)}, {where}."


def _is_significant(row: pd.Series) -> bool:
    return row["all_low"] > 0 or row["all_high"] < 0


def _do(count: int) -> str:
    return f"{count or 'none'} {'do' if count > 1 else 'does'}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _estimate(row: pd.Series) -> str:
    """A difference and its interval, with minus signs; no line break inside the interval."""
    text = "{difference:+.3f} [{all_low:+.3f},\u00a0{all_high:+.3f}]".format_map(row)
    return text.replace("-", "−")
