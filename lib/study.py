"""The study: does pretraining pay, and with how many labelled clips?

Encoders (from random weights, SCAE, masked, CPC, CPC-NCE), what they were pretrained on (English,
Mandarin, both, the music without its labels, nothing), frozen or released, and the share of the
labelled clips that training may use; beside them support vector machines on log-mel statistics and
on the frozen codes. Every cell is cross-validated with folds that keep artists apart, and repeated
with other seeds.

Every run is a line of the suite's own scripts. A finished line is not run again, an unfinished one
goes on where it was.
"""

from __future__ import annotations

import contextlib
import importlib
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lib import artefacts, comparison, evaluation, scoring
from lib.cli import say
from lib.config import Settings
from lib.errors import UserError
from lib.registry import BASELINES, DENOISERS, PROBE, TITLES

FOLDS = 3
SHARES = (0.05, 0.1, 0.25, 1.0)  # of the labelled clips
SEEDS = 3
MUSIC = "e"
# the weights of the last epoch are kept, so few clips are enough to watch a training with
PROTOCOL = f"--folds {FOLDS} --groups artist --set dataset.val=0.05"
# one budget and the same heads for all: what two cores can do in minutes [ours]
BUDGET = {
    "augment.windows_per_epoch": 1600,
    "transfer.epochs": 15,
    "release.epochs": 15,
    "transfer.batch_windows": 32,
    "release.batch_windows": 32,
    "release.learning_rate": 0.001,
    "heads.units": 128,
    "heads.shared": 1,
    "heads.own": 0,
    "heads.code_dropout": 0.2,
    "network.dropout": 0.1,
    "training.schedule": "cosine",
    "training.keep": "last",
}
PRETRAINING = {  # epochs, by model and kind of data: about convergence of the validation loss
    ("model_over", "speech"): 10,
    ("model_cpc", "speech"): 10,
    ("model_over_mask", "speech"): 30,
    ("model_cpc_nce", "speech"): 20,
    ("model_cpc_nce", "music"): 4,
}


@dataclass(frozen=True)
class Cell:
    """One cell of the study: an encoder, what it was pretrained on, what is trained, and labels.

    model, source, mode, labels : as flags and run directories have them
    """

    model: str
    source: str
    mode: str
    labels: float

    @property
    def tag(self) -> str:
        return f"labels_{round(100 * self.labels)}"

    @property
    def line(self) -> list[str]:
        """The script and its flags, without the number of iterations."""
        script = "cpc" if "cpc" in self.model else "denoise"
        release = "y" if self.mode in ("full", "scratch") and self.model not in BASELINES else "n"
        line = f"trans_train_{script}_multi.py -s {self.source} -m {MUSIC} -mod {self.model} "
        line += f"-rel {release} {PROTOCOL} --tag {self.tag}"
        line += " --probe" if self.mode == "probe" and self.model != PROBE else ""
        settings = {"transfer.labels": self.labels, **BUDGET}
        if self.mode == "probe":
            settings = {"transfer.labels": self.labels}
        return [*line.split(), *(f"--set={name}={value}" for name, value in settings.items())]

    def run(self, models: Path, iteration: int) -> Path:
        """The directory of its folds."""
        folds = f"artist_folds_{FOLDS}"
        names = (self.source, MUSIC, self.model, self.mode, iteration, folds, self.tag)
        return artefacts.transfer_run(models, *names)


def cells() -> list[Cell]:
    """The cells of the study, the cheap ones first."""
    light = [("model_cpc_nce", source) for source in "nemxu"] + [("model_over_mask", "e")]
    heavy = [("model_over", "e"), ("model_cpc", "e")]
    found = [Cell(PROBE, "n", "probe", share) for share in SHARES]
    for encoders in (light, heavy):
        for model, source in encoders:
            for mode in ("probe", "feat_ext"):
                found += [Cell(model, source, mode, share) for share in SHARES]
        for model, source in encoders:
            mode = "scratch" if source == "n" else "full"
            # languages, and what is slow, where labels are few and where they are all there
            few = source in "mx" or encoders is heavy
            found += [Cell(model, source, mode, s) for s in ((0.1, 1.0) if few else SHARES)]
    return found


def pretraining(cell: Cell) -> list[str] | None:
    """The line that makes the encoder of a cell, without the number of iterations."""
    if cell.source == "n":
        return None
    kind = "music" if cell.source == "u" else "speech"
    script = "denoise" if cell.model in DENOISERS else "cpc"
    source = f"-m {MUSIC} {PROTOCOL}" if kind == "music" else f"-s {cell.source}"
    epochs = PRETRAINING[cell.model, kind]
    return f"pretrain_{script}.py {source} -mod {cell.model} --epochs {epochs}".split()


def lines() -> list[list[str]]:
    """All lines, each once, pretraining before what needs it."""
    every = [line for cell in cells() for line in (pretraining(cell), cell.line) if line]
    return [list(line) for line in dict.fromkeys(map(tuple, every))]


def run(settings: Settings, out: Path, seeds: int, hours: float | None) -> list[str]:
    """Run what is not finished, all cells with one seed before the next.

    Parameters
    ----------
    settings : "paths" says where runs are
    out : folder that keeps the table of runs
    seeds : iterations of every cell
    hours : after which no further line is begun, or None

    Returns the lines that are left. Raises UserError when a line fails.
    """
    began, models = time.monotonic(), Path(settings["paths"]["models"])
    runs, left, called = read(out / RUNS), [], []
    for seed in range(seeds):
        for cell in cells():
            if _known(runs, cell, seed):
                continue
            if hours is not None and time.monotonic() - began > 3600 * hours:
                left.append(shlex.join(["python3", *cell.line, "--iterations", str(seed + 1)]))
                continue
            for line in filter(None, (pretraining(cell), cell.line)):
                line = [*line, "--iterations", str(seed + 1)]
                if line not in called:  # cells share their pretraining
                    _call(line)
                    called.append(line)
            runs = pd.concat([runs, _row(cell, seed, cell.run(models, seed))], ignore_index=True)
            artefacts.write_text(out / RUNS, runs.to_csv(index=False))
    return left


def _known(runs: pd.DataFrame, cell: Cell, seed: int) -> bool:
    same = runs[(runs["command"] == shlex.join(cell.line)) & (runs["iteration"] == seed)]
    return len(same) > 0


def _call(line: Sequence[str]) -> None:
    """Run a script of the suite in this process, as from the shell.

    Raises UserError when it fails, SystemExit when it was interrupted, which it has told itself.
    """
    say(f"$ python3 {shlex.join(line)}")
    module = importlib.import_module(line[0].removesuffix(".py"))
    keras = importlib.import_module("keras")
    keras.utils.clear_session()  # else every model stays in memory
    with _arguments(line):
        status = module.main(list(line[1:]))
    if status > 128:
        raise SystemExit(status)
    if status:
        raise UserError(f"this line ended with status {status}: mend that, the study then goes on")


@contextlib.contextmanager
def _arguments(line: Sequence[str]) -> Iterator[None]:
    """sys.argv as of `line`, which run.json tells."""
    before, sys.argv = sys.argv, list(line)
    try:
        yield
    finally:
        sys.argv = before


RUNS = "study_runs.csv"
COLUMNS = ["model", "source", "mode", "labels", "iteration", "labelled", "window_f1", "clip_f1"]
COLUMNS += ["arousal_f1", "valence_f1", "seconds", "run_sha256", "command", "true", "predicted"]


def read(path: Path) -> pd.DataFrame:
    """The table of runs, empty where there is none.

    Columns: those of Cell; iteration; labelled, clips with labels that training used (mean over
    folds); macro F1 of the quadrants per window and per clip, of arousal and valence per clip, of
    all clips together; seconds of all folds; the hash of run.json; the line; and the true and the
    predicted quadrant of every clip, a digit each, clips in the order of their names.
    """
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS)
    return pd.read_csv(path, dtype={"true": str, "predicted": str})[COLUMNS]


def _row(cell: Cell, seed: int, run: Path) -> pd.DataFrame:
    table = scoring.read(run / scoring.PREDICTIONS).sort_values("recording", kind="stable")
    measures = scoring.measures(table)
    _, first, clip = np.unique(table["recording"], return_index=True, return_inverse=True)
    p, weights = scoring.probabilities_of(table)["quadrants"], scoring.attention_of(table)
    p = evaluation.mean_by(p, clip, len(first), weights)
    true = scoring.labels_of(table)["quadrants"][first]
    each = [artefacts.read_json(fold / "run.json") for fold in sorted(run.glob("fold_*"))]
    row = {"model": cell.model, "source": cell.source, "mode": cell.mode, "labels": cell.labels}
    row |= {"iteration": seed, "labelled": round(cell.labels * len(true) * (1 - 1 / FOLDS))}
    row |= {"window_f1": measures["window"]["quadrants"]["macro_f1"]}
    for name, task in (("clip", "quadrants"), ("arousal", "arousal"), ("valence", "valence")):
        row[f"{name}_f1"] = measures["clip"][task]["macro_f1"]
    row |= {"seconds": sum(record["seconds"] for record in each)}
    row |= {"run_sha256": artefacts.file_hash(run / "run.json"), "command": shlex.join(cell.line)}
    digits = {"true": true, "predicted": p.argmax(axis=1)}
    row |= {name: "".join(str(q + 1) for q in values) for name, values in digits.items()}
    return pd.DataFrame([row])[COLUMNS]


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per cell: runs; mean and standard deviation over seeds of macro F1 per window and per
    clip; 95 % interval of the latter over clips (low, high); and the difference from training from
    scratch and from the machine on log-mel statistics with as many labels (vs_scratch, vs_svm),
    each with its interval, corrected for all differences of that kind at once.
    """
    key, rows, drawn = ["model", "source", "mode", "labels"], [], []
    runs = runs.sort_values([*key, "iteration"])
    if runs["true"].nunique() > 1:
        raise UserError("the runs of the study were tested on different clips: begin it anew")
    weights = comparison.draws(len(runs["true"].iloc[0]), 0)
    for names, part in runs.groupby(key, sort=False):
        value, samples = comparison.resampled(list(map(_counts, *_digits(part))), weights)
        low, high = comparison.interval(samples)
        row = dict(zip(key, names, strict=True))
        row |= {"labelled": part["labelled"].iloc[0], "runs": len(part)}
        for name in ("window_f1", "clip_f1"):
            row |= {name: part[name].mean(), f"{name}_sd": part[name].std(ddof=1)}
        rows.append(row | {"low": low, "high": high, "seconds": part["seconds"].mean()})
        drawn.append((value, samples))
    table = pd.DataFrame(rows)
    for name, model, mode in (("vs_scratch", None, "scratch"), ("vs_svm", PROBE, "probe")):
        pairs = []
        for i, row in table.iterrows():
            base = table[(table["mode"] == mode) & (table["labels"] == row["labels"])]
            base = base[base["model"] == model] if model else base
            if len(base) == 1 and base.index[0] != i:
                pairs.append((i, base.index[0]))
        values = [drawn[i][0] - drawn[j][0] for i, j in pairs]
        told = comparison.simultaneous(values, [drawn[i][1] - drawn[j][1] for i, j in pairs])
        for (i, _), difference, about in zip(pairs, values, told, strict=True):
            table.loc[i, [name, f"{name}_low", f"{name}_high"]] = (
                difference,
                about["all_low"],
                about["all_high"],
            )
    return table


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


def results(out: Path) -> str:
    """Write study.csv, study.md and the figure to `out`; returns the table for the terminal."""
    from lib import plots

    runs = read(out / RUNS)
    if runs.empty:
        raise UserError(f"no finished run of the study in {out / RUNS}: run python3 study.py")
    table = summarise(runs)
    artefacts.write_text(out / "study.csv", table.to_csv(index=False, float_format="%.4f"))
    text = markdown(table)
    artefacts.write_text(out / "study.md", text)
    plots.study(table, TITLES, out / "study.png")
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
    """The table with a column per number of labelled clips."""
    shares = sorted(table["labels"].unique())
    clips = {s: table.loc[table["labels"] == s, "labelled"].iloc[0] for s in shares}
    heads = [f"{clips[share]} clips" for share in shares]
    lines = ["| encoder | pretrained on | | runs | " + " | ".join(heads) + " |"]
    lines.append("| --- " * (4 + len(shares)) + "|")
    order = {name: i for i, name in enumerate([PROBE, *TITLES])}
    rank = {mode: i for i, mode in enumerate(MODE_TITLES)}
    groups = table.groupby(["model", "source", "mode"], sort=False)
    for model, source, mode in sorted(
        groups.groups, key=lambda k: (rank[k[2]], order[k[0]], "nemxu".index(k[1]))
    ):
        part = groups.get_group((model, source, mode)).set_index("labels")
        pretrained = "–" if model == PROBE else SOURCE_TITLES[source]
        cells = []
        for share in shares:
            if share not in part.index:
                cells.append("")
                continue
            row = part.loc[share]
            cells.append(f"**{row.clip_f1:.3f}** ({row.low:.2f}–{row.high:.2f})")
            if mode != "probe":
                cells[-1] += f" / {row.window_f1:.3f}"
        runs = part["runs"].min()
        lines.append(f"| {TITLES[model]} | {pretrained} | {MODE_TITLES[mode]} | {runs} | ")
        lines[-1] += " | ".join(cells) + " |"
    return "\n".join(lines) + "\n"
