"""Results of the study: a row per run, a row per cell, and the differences between cells.

Everything is computed from study_runs.csv.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from lib.artefacts import files
from lib.console import say
from lib.corpora import csv_tables
from lib.errors import UserError
from lib.evaluation import bootstrap
from lib.figures import study
from lib.models.catalogue import PROBE, titles
from lib.seeds import BOOTSTRAP

RUNS = "study_runs.csv"
CODES = "c"  # source of codes made by embed.py; their name is the model
INTERVALS = ["low", "high", "all_low", "all_high"]
ENCODER = ["model", "source", "mode"]
CELL = [*ENCODER, "labels"]
F1 = ["window_f1", "clip_f1", "arousal_f1", "valence_f1"]
COLUMNS = [*CELL, "iteration", "labelled", *F1]
COLUMNS += ["seconds", "run_sha256", "command", "true", "predicted"]
NUMBERS = {"iteration": int, "labelled": int, **dict.fromkeys(["labels", *F1, "seconds"], float)}
SOURCE_TITLES = {
    "n": "random weights",
    "e": "English",
    "m": "Mandarin",
    "x": "English and Mandarin",
    "u": "music without labels",
    CODES: "codes of embed.py",
}
MODE_TITLES = {"probe": "SVM", "feat_ext": "frozen", "full": "released", "scratch": "from scratch"}
QUESTIONS = {  # (model, source, mode): the cell to compare it with, at the same labels
    "random weights": lambda model, source, mode: (
        ("model_cpc_nce", "n", "scratch" if mode == "full" else mode)
    ),
    "the SVM on log-mel statistics": lambda model, source, mode: (PROBE, "n", "probe"),
    "English": lambda model, source, mode: (model, "e" if source != "n" else "n", mode),
}


def read(path: Path) -> pd.DataFrame:
    """The table of runs, empty where there is none.

    Columns: those of Cell; iteration; labelled, the number of labelled clips in training (mean over
    folds); macro F1 over all clips, of the quadrants per window and per clip, of arousal and
    valence per clip; seconds of all folds; the hash of run.json; the command; and the true and the
    predicted quadrant of every clip, a digit each, clips in the order of their names.

    A duplicate row is ignored, with a message. Raises UserError where the file is not such a
    table, rows are cut, or two rows of one run differ.
    """
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS)
    advice = f"move it away; python3 study.py then makes it again from the finished runs ({path})"
    try:
        table = csv_tables.read_csv(path)
        csv_tables.require(table, COLUMNS, path)
    except UserError as error:
        raise UserError(f"{error}; {advice}") from error
    table, numbers = table[COLUMNS], list(NUMBERS)
    table[numbers] = table[numbers].apply(pd.to_numeric, errors="coerce")
    _refuse(table[~_whole(table)], f"{path} has rows that are cut or not from the study", advice)
    table, twice = table.astype(NUMBERS), table.duplicated()
    if twice.any():
        say(f"{path}: {twice.sum()} duplicate rows are ignored")
    table = table[~twice]
    differ = table[table.duplicated([*CELL, "iteration"])]
    _refuse(differ, f"{path} has different rows of the same runs above these", advice)
    return table.reset_index(drop=True)


def _refuse(rows: pd.DataFrame, fault: str, advice: str) -> None:
    """Raise UserError with the first line numbers of these rows in the file, if there are rows."""
    csv_tables.refuse([number + 2 for number in rows.index], fault, advice)


def _whole(table: pd.DataFrame) -> pd.Series:
    """Whether each row is complete and valid : bool (n,)."""
    whole = table[list(NUMBERS)].notna().all(axis=1)
    whole &= table["model"].isin(titles()) | (table["source"] == CODES)
    whole &= table["source"].isin(SOURCE_TITLES) & table["mode"].isin(MODE_TITLES)
    for name in ("true", "predicted"):
        whole &= table[name].str.fullmatch("[1-4]+")
    return whole & (table["true"].str.len() == table["predicted"].str.len())


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per cell: labelled clips, runs; mean and standard deviation over seeds of macro F1 per
    window and per clip; 95 % interval of the latter over clips (low, high); seconds.

    Runs with equal predictions count as one, without a standard deviation: the seed has no effect.
    """
    rows, estimates = [], _estimates(runs)
    for cell, part in _cells(runs):
        low, high = bootstrap.interval(estimates[cell][1:])
        if part["predicted"].nunique() == 1:
            part = part.iloc[:1]
        row = dict(zip(CELL, cell, strict=True))
        row |= {"labelled": part["labelled"].iloc[0], "runs": len(part)}
        for name in ("window_f1", "clip_f1"):
            row |= {name: part[name].mean(), f"{name}_sd": part[name].std(ddof=1)}
        rows.append(row | {"low": low, "high": high, "seconds": part["seconds"].mean()})
    return pd.DataFrame(rows)


def differences(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per question, encoder and number of labels, and one with the mean over these.

    Columns: than, the other cell; model, source, mode; labels, NaN for the mean; difference of
    macro F1 per clip; its 95 % interval (low, high), and the wider interval corrected for all
    differences of the same question (all_low, all_high).
    """
    estimates, rows = _estimates(runs), []
    for question, other in QUESTIONS.items():
        gains = {}
        for encoder, cells in itertools.groupby(estimates, key=lambda cell: cell[:-1]):
            bases = {cell: (*other(*encoder), cell[-1]) for cell in cells}
            pairs = [(c, base) for c, base in bases.items() if base in estimates and base != c]
            part = {cell: estimates[cell] - estimates[base] for cell, base in pairs}
            if len(part) > 1:
                part[(*encoder, np.nan)] = np.mean([*part.values()], axis=0)
            gains |= part
        values, draws = [g[0] for g in gains.values()], [g[1:] for g in gains.values()]
        intervals = bootstrap.simultaneous(values, draws)
        for cell, value, interval in zip(gains, values, intervals, strict=True):
            rows.append([question, *cell, value, *(interval[name] for name in INTERVALS)])
    return pd.DataFrame(rows, columns=["than", *CELL, "difference", *INTERVALS])


def _cells(runs: pd.DataFrame) -> Iterable[tuple[tuple, pd.DataFrame]]:
    """Each cell with its runs, sorted by iteration."""
    return runs.sort_values([*CELL, "iteration"]).groupby(CELL, sort=False)


def _estimates(runs: pd.DataFrame) -> dict[tuple, np.ndarray]:
    """{cell: macro F1 per clip (mean over seeds), then its draws : float64 (1 + draws,)}."""
    if runs["true"].nunique() > 1:
        raise UserError("the runs of the study were tested on different clips: start it again")
    weights, estimates = bootstrap.draws(len(runs["true"].iloc[0]), BOOTSTRAP), {}
    for cell, part in _cells(runs):
        counts = list(map(_counts, part["true"], part["predicted"]))
        value, draws = bootstrap.resampled(counts, weights)
        estimates[cell] = np.append(value, draws)
    return estimates


def _counts(*answers: str) -> np.ndarray:
    """The confusion matrix of each clip, from true and predicted digits : float64 (clips, 4, 4)."""
    true, predicted = (np.eye(4)[[int(digit) - 1 for digit in text]] for text in answers)
    return true[:, :, None] * predicted[:, None, :]


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
        f"\nDifference from {than}:\n\n{markdown_differences(part, table)}"
        for than, part in compared.groupby("than", sort=False)
    )
    files.write_text(out / "study.md", text)
    study.study(table, _titles(table), out / "study.png", PROBE)
    return text


def _titles(table: pd.DataFrame) -> dict[str, str]:
    """{model: its title}, and {name: name} for the codes in the table."""
    return titles() | {name: name for name in table.loc[table["source"] == CODES, "model"]}


def markdown(table: pd.DataFrame) -> str:
    """Macro F1 per clip and per window, a column per number of labelled clips."""

    def text(row) -> str:
        window = "" if row.mode == "probe" else f" / {row.window_f1:.3f}"
        return f"**{row.clip_f1:.3f}** ({row.low:.2f}–{row.high:.2f}){window}"

    runs = table.groupby(ENCODER)["runs"].agg(
        lambda number: " to ".join(map(str, sorted({number.min(), number.max()})))
    )
    return _by_labels(table, table, text, runs)


def markdown_differences(compared: pd.DataFrame, table: pd.DataFrame) -> str:
    """One question's differences, bold where the corrected interval excludes 0."""

    def text(row) -> str:
        difference = f"{row.difference:+.3f} ± {row.all_high - row.difference:.3f}"
        return f"**{difference}**" if row.all_low > 0 or row.all_high < 0 else difference

    mean = compared[compared["labels"].isna()].set_index(ENCODER)
    mean = pd.Series({key: text(row) for key, row in mean.iterrows()}, dtype=str, name="mean")
    return _by_labels(compared.dropna(subset="labels"), table, text, mean)


def _by_labels(
    rows: pd.DataFrame, table: pd.DataFrame, text: Callable[[tuple], str], last: pd.Series
) -> str:
    """A line per encoder and mode, a column per number of labelled clips, and the column `last`."""
    labelled = table.groupby("labels")["labelled"].first()
    heads = ["encoder", "pretrained on", "", *(f"{n} clips" for n in labelled), last.name]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    texts = rows.assign(text=list(map(text, rows.itertuples())))
    texts = texts.pivot(index=ENCODER, columns="labels", values="text").fillna("")
    texts = texts.reindex(columns=labelled.index, fill_value="")
    names = _titles(table)
    for mode, model, source in itertools.product(MODE_TITLES, names, SOURCE_TITLES):
        key = (model, source, mode)
        if key in texts.index:
            pretrained = "–" if model == PROBE else SOURCE_TITLES[source]
            parts = [names[model], pretrained, MODE_TITLES[mode]]
            lines.append(f"| {' | '.join([*parts, *texts.loc[key], last.get(key, '')])} |")
    return "\n".join(lines) + "\n"
