"""What the study found: a row per run, a row per cell, and what is more than what.

All of it follows from study_runs.csv; nothing else is read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lib.artefacts import files
from lib.console import say
from lib.corpora import annotation_tables
from lib.errors import UserError
from lib.evaluation import bootstrap
from lib.figures import study
from lib.models.catalogue import PROBE, titles

RUNS = "study_runs.csv"
INTERVALS = ["low", "high", "all_low", "all_high"]
CELL = ["model", "source", "mode", "labels"]
F1 = ["window_f1", "clip_f1", "arousal_f1", "valence_f1"]
COLUMNS = [*CELL, "iteration", "labelled", *F1]
COLUMNS += ["seconds", "run_sha256", "command", "true", "predicted"]
NUMBERS = {"iteration": int, "labelled": int, **dict.fromkeys(["labels", *F1, "seconds"], float)}


def read(path: Path) -> pd.DataFrame:
    """The table of runs, empty where there is none.

    Columns: those of Cell; iteration; labelled, clips with labels that training used (mean over
    folds); macro F1 of the quadrants per window and per clip, of arousal and valence per clip, of
    all clips together; seconds of all folds; the hash of run.json; the line; and the true and the
    predicted quadrant of every clip, a digit each, clips in the order of their names.

    A row that is there twice counts once, which is told. Raises UserError where the file is no such
    table, rows are cut, or two rows of one run differ.
    """
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS)
    anew = (
        f"move it away, and python3 study.py makes it anew of the runs that are finished ({path})"
    )
    try:
        table = annotation_tables.read_csv(path)
        annotation_tables.require(table, COLUMNS, path)
    except UserError as error:
        raise UserError(f"{error}; {anew}") from error
    table = table[COLUMNS]
    for name in NUMBERS:
        table[name] = pd.to_numeric(table[name], errors="coerce")
    rows = [str(number + 2) for number in np.flatnonzero(~_whole(table))]
    annotation_tables.refuse(rows, f"{path} has rows that are cut or not of the study", anew)
    return _each_once(table.astype(NUMBERS), path, anew)


def _whole(table: pd.DataFrame) -> np.ndarray:
    """Whether each row has all that a run has : bool (n,)."""
    digits = [table[name].str.fullmatch("[1-4]+") for name in ("true", "predicted")]
    names = zip(("model", "source", "mode"), (titles(), SOURCE_TITLES, MODE_TITLES), strict=True)
    legal = [table[name].isin(known) for name, known in names]
    whole = np.logical_and.reduce([table[list(NUMBERS)].notna().all(axis=1), *digits, *legal])
    return whole & (table["true"].str.len() == table["predicted"].str.len()).to_numpy()


def _each_once(table: pd.DataFrame, path: Path, anew: str) -> pd.DataFrame:
    """The rows without those that are there twice, which are told; UserError where they differ."""
    twice = table.duplicated()
    if twice.any():
        say(f"{path}: {twice.sum()} rows are there twice, and count once")
        table = table[~twice]
    differ = table.duplicated([*CELL, "iteration"])
    rows = [str(number + 2) for number in table.index[differ]]
    annotation_tables.refuse(rows, f"{path} has other rows of the same runs above these", anew)
    return table.reset_index(drop=True)


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per cell: labelled clips, runs; mean and standard deviation over seeds of macro F1 per
    window and per clip; 95 % interval of the latter over clips (low, high); seconds.

    Runs that all predict the same are one, without a standard deviation: no seed decides there.
    """
    rows, drawn = [], _resampled(runs)
    for names, part in runs.sort_values([*CELL, "iteration"]).groupby(CELL, sort=False):
        low, high = bootstrap.interval(drawn[names[:-1]][names[-1]][1])
        if part["predicted"].nunique() == 1:
            part = part.iloc[:1]
        row = dict(zip(CELL, names, strict=True))
        row |= {"labelled": part["labelled"].iloc[0], "runs": len(part)}
        for name in ("window_f1", "clip_f1"):
            row |= {name: part[name].mean(), f"{name}_sd": part[name].std(ddof=1)}
        rows.append(row | {"low": low, "high": high, "seconds": part["seconds"].mean()})
    return pd.DataFrame(rows)


def _untrained(model: str, source: str, mode: str) -> tuple[str, str, str]:
    return "model_cpc_nce", "n", "scratch" if mode == "full" else mode


QUESTIONS = {  # (model, source, mode): what it is compared with, with as many labels
    "random weights": _untrained,
    "the SVM on log-mel statistics": lambda model, source, mode: (PROBE, "n", "probe"),
    "English": lambda model, source, mode: (model, "e" if source != "n" else "n", mode),
}


def differences(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per question, encoder and number of labels, and one with the mean over these.

    Columns: than, what is compared with; model, source, mode; labels, NaN for the mean; difference
    of macro F1 per clip; its 95 % interval (low, high), and the wider one that is corrected for all
    differences of the same question (all_low, all_high).
    """
    drawn, rows = _resampled(runs), []
    for than, other in QUESTIONS.items():
        found = []
        for key, shares in drawn.items():
            base = drawn.get(other(*key), {}) if other(*key) != key else {}
            pairs = {s: (shares[s], base[s]) for s in shares if s in base}
            pairs = {s: (a[0] - b[0], a[1] - b[1]) for s, (a, b) in pairs.items()}
            if len(pairs) > 1:
                pairs[np.nan] = tuple(
                    np.mean(part, axis=0) for part in zip(*pairs.values(), strict=True)
                )
            found += [(*key, share, *pair) for share, pair in pairs.items()]
        told = bootstrap.simultaneous([row[-2] for row in found], [row[-1] for row in found])
        for row, about in zip(found, told, strict=True):
            rows.append([than, *row[:-1], *(about[name] for name in INTERVALS)])
    return pd.DataFrame(rows, columns=["than", *CELL, "difference", *INTERVALS])


def _resampled(runs: pd.DataFrame) -> dict[tuple, dict[float, tuple[float, np.ndarray]]]:
    """{(model, source, mode): {labels: macro F1 per clip, mean over seeds, and its draws}}."""
    if runs["true"].nunique() > 1:
        raise UserError("the runs of the study were tested on different clips: begin it anew")
    weights, drawn = bootstrap.draws(len(runs["true"].iloc[0]), 0), {}
    for (*key, share), part in runs.sort_values([*CELL, "iteration"]).groupby(CELL, sort=False):
        counts = list(map(_counts, *_digits(part)))
        drawn.setdefault(tuple(key), {})[share] = bootstrap.resampled(counts, weights)
    return drawn


def _digits(part: pd.DataFrame) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """True and predicted quadrants of every run : int (clips,) each."""
    return tuple(
        [np.array([int(digit) - 1 for digit in text]) for text in part[name]]
        for name in ("true", "predicted")
    )


def _counts(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The confusion matrix of each clip : int (clips, 4, 4)."""
    counts = np.zeros((len(true), 4, 4), np.int64)
    counts[np.arange(len(true)), true, predicted] = 1
    return counts


def write(out: Path) -> str:
    """Write study.csv, study_differences.csv, study.md and the figure to `out`.

    Returns the tables for the terminal.
    """
    runs = read(out / RUNS)
    if runs.empty:
        raise UserError(f"no finished run of the study in {out / RUNS}: run python3 study.py")
    table, compared = summarise(runs), differences(runs)
    for name, rows in (("study", table), ("study_differences", compared)):
        files.write_text(out / f"{name}.csv", rows.to_csv(index=False, float_format="%.4f"))
    text = markdown(table) + "".join(
        f"\nMore than {than}:\n\n{markdown_differences(part, table)}"
        for than, part in compared.groupby("than", sort=False)
    )
    files.write_text(out / "study.md", text)
    study.study(table, titles(), out / "study.png", PROBE)
    return text


SOURCE_TITLES = {
    "n": "random weights",
    "e": "English",
    "m": "Mandarin",
    "x": "English and Mandarin",
    "u": "music without labels",
}
MODE_TITLES = {"probe": "SVM", "feat_ext": "frozen", "full": "released", "scratch": "from scratch"}


def markdown(table: pd.DataFrame) -> str:
    """Macro F1 per clip and per window, a column per number of labelled clips."""

    def cell(row) -> str:
        window = "" if row.mode == "probe" else f" / {row.window_f1:.3f}"
        return f"**{row.clip_f1:.3f}** ({row.low:.2f}–{row.high:.2f}){window}"

    runs = table.groupby(CELL[:-1])["runs"].agg(
        lambda found: " to ".join(map(str, sorted({found.min(), found.max()})))
    )
    return _by_labels(table, table, cell, {"runs": runs})


def markdown_differences(compared: pd.DataFrame, table: pd.DataFrame) -> str:
    """One question's differences, bold where their corrected interval leaves 0 out."""

    def cell(row) -> str:
        text = f"{row.difference:+.3f} ± {row.all_high - row.difference:.3f}"
        return f"**{text}**" if row.all_low > 0 or row.all_high < 0 else text

    mean = compared[compared["labels"].isna()].set_index(CELL[:-1])
    mean = pd.Series({key: cell(row) for key, row in mean.iterrows()}, dtype=str)
    return _by_labels(compared.dropna(subset="labels"), table, cell, {"mean": mean})


def _by_labels(rows: pd.DataFrame, table: pd.DataFrame, cell, more: dict[str, pd.Series]) -> str:
    """A line per encoder and mode, a column per number of labelled clips, and `more` columns."""
    labelled = table.groupby("labels")["labelled"].first()
    heads = ["encoder", "pretrained on", "", *(f"{n} clips" for n in labelled), *more]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    order = {name: i for i, name in enumerate([PROBE, *titles()])}
    rank = {mode: i for i, mode in enumerate(MODE_TITLES)}
    groups = rows.groupby(CELL[:-1], sort=False)
    for key in sorted(groups.groups, key=lambda k: (rank[k[2]], order[k[0]], "nemxu".index(k[1]))):
        model, source, mode = key
        found = {row.labels: cell(row) for row in groups.get_group(key).itertuples()}
        pretrained = "–" if model == PROBE else SOURCE_TITLES[source]
        parts = [titles()[model], pretrained, MODE_TITLES[mode]]
        parts += [found.get(share, "") for share in labelled.index]
        parts += [column.get(key, "") for column in more.values()]
        lines.append(f"| {' | '.join(parts)} |")
    return "\n".join(lines) + "\n"
