"""Run the study: does pretraining help, and with how many labelled clips?

A cell is an encoder (random weights, SCAE, masked, CPC, CPC-NCE), its pretraining data (English,
Mandarin, both, the music without its labels, none), frozen or released, and the share of the
labelled clips that training uses. Support vector machines on log-mel statistics and on the frozen
codes are compared with these; --codes adds codes of other encoders (embed.py). Every cell is
cross-validated with folds that separate artists, and repeated with other seeds.

Every run is a command of the suite's own scripts. A finished one is skipped, an unfinished resumes.
"""

from __future__ import annotations

import importlib
import itertools
import re
import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lib import configuration
from lib.artefacts import files, run_record
from lib.artefacts.run_name import RunName, folds_of
from lib.configuration import Settings
from lib.console import say
from lib.errors import UserError
from lib.evaluation import predictions_table
from lib.experiments import study_results
from lib.experiments.study_results import CODES
from lib.models import catalogue
from lib.models.catalogue import PROBE

FOLDS = 3
SHARES = (0.05, 0.1, 0.25, 1.0)  # of the labelled clips
MUSIC = "e"
# the last epoch's weights are kept, so validation needs only a few clips
PROTOCOL = f"--folds {FOLDS} --groups artist --set dataset.val=0.05"
# frozen only, and run last: a released run takes an estimated quarter of an hour or more
HEAVY = (("model_over", "e"), ("model_cpc", "e"))
# our choice: one budget and the same heads for all; two cores need minutes
BUDGET = {
    "augment.windows_per_epoch": 1600,
    "augment.mel_shift": 0,  # this setting is newer than the study
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
    "transfer.schedule": "cosine",
    "transfer.keep": "last",
    "release.schedule": "cosine",
    "release.keep": "last",
}
PRETRAINING = {  # epochs by model and kind of data: the validation loss has about converged
    ("model_over", "speech"): 10,
    ("model_cpc", "speech"): 10,
    ("model_over_mask", "speech"): 30,
    ("model_cpc_nce", "speech"): 20,
    ("model_cpc_nce", "music"): 4,
}


@dataclass(frozen=True)
class Cell:
    """One cell of the study: an encoder, its pretraining data, what is trained, and labels.

    model, source, mode, labels : spelled as in flags and run directories
    """

    model: str
    source: str
    mode: str
    labels: float

    @property
    def tag(self) -> str:
        return f"labels_{round(100 * self.labels)}"

    @property
    def drawn(self) -> bool:
        """Whether the seed matters: an SVM on fixed inputs and all labels makes no random draw."""
        no_encoder = self.model == PROBE or self.source == CODES
        return not (self.mode == "probe" and no_encoder) or self.labels < 1

    @property
    def line(self) -> list[str]:
        """The script and its flags, without the number of iterations."""
        if self.source == CODES:
            line = f"trans_train_denoise_multi.py -s {self.model} -m {MUSIC} -rel n"
        else:
            spec = catalogue.spec(self.model)
            release = "y" if self.mode in ("full", "scratch") and not spec.baseline else "n"
            line = f"trans_train_{spec.script}_multi.py -s {self.source} -m {MUSIC}"
            line += f" -mod {self.model} -rel {release}"
        line += f" {PROTOCOL} --tag {self.tag}"
        line += " --probe" if self.mode == "probe" and self.model != PROBE else ""
        settings = {"transfer.labels": self.labels, **BUDGET}
        if self.mode == "probe":
            settings = {"transfer.labels": self.labels}
        return [*line.split(), *(f"--set={name}={value}" for name, value in settings.items())]

    def run(self, models: Path, iteration: int) -> Path:
        """The directory of its folds."""
        name = RunName(
            model=self.model,
            mode=self.mode,
            speech=self.source,
            music=MUSIC,
            iteration=iteration,
            tag=self.tag,
            folds=f"artist_folds_{FOLDS}",
        )
        return name.path(models)


def cells(codes: Sequence[str] = ()) -> list[Cell]:
    """The cells of the study, and those of the named codes."""
    light = [("model_cpc_nce", source) for source in "nemxu"] + [("model_over_mask", "e")]
    baseline = [Cell(PROBE, "n", "probe", share) for share in SHARES]
    trained = []
    for model, source in light:
        mode = "scratch" if source == "n" else "full"
        # the main question uses every share of labels, the others only 10 % and all
        shares = SHARES if model == "model_cpc_nce" and source in "ne" else (0.1, 1.0)
        trained += [Cell(model, source, mode, share) for share in shares]
    given = _frozen((name, CODES) for name in codes)
    return [*baseline, *_frozen(light), *given, *trained, *_frozen(HEAVY)]


def _frozen(encoders: Iterable[tuple[str, str]]) -> list[Cell]:
    runs = itertools.product(encoders, ("probe", "feat_ext"), SHARES)
    return [Cell(model, source, mode, share) for (model, source), mode, share in runs]


def pretraining(cell: Cell) -> list[str] | None:
    """The command that makes the encoder of a cell, without the number of iterations."""
    if cell.source in ("n", CODES):
        return None
    kind = "music" if cell.source == "u" else "speech"
    script = catalogue.spec(cell.model).script
    source = f"-m {MUSIC} {PROTOCOL}" if kind == "music" else f"-s {cell.source}"
    epochs = PRETRAINING[cell.model, kind]
    return f"pretrain_{script}.py {source} -mod {cell.model} --epochs {epochs}".split()


def _order(seeds: int, codes: Sequence[str] = ()) -> list[tuple[int, Cell]]:
    """All runs (seed, cell): light encoders first, seed by seed, then the heavy ones. Cells without
    random draws have one seed."""
    runs = [(s, cell) for s in range(seeds) for cell in cells(codes) if cell.drawn or s == 0]
    return sorted(runs, key=lambda run: (run[1].model, run[1].source) in HEAVY)


def lines(seeds: int, codes: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """All commands for `seeds` seeds, each once, pretraining before the runs that need it."""
    every = [
        (*line, "--iterations", str(seeds if cell.drawn else 1))
        for cell in cells(codes)
        for line in (pretraining(cell), cell.line)
        if line
    ]
    return list(dict.fromkeys(every))


def run(
    settings: Settings, out: Path, seeds: int, hours: float | None, codes: Sequence[str] = ()
) -> list[str]:
    """Run everything that is not finished.

    Parameters
    ----------
    settings : "paths" says where runs are
    out : folder of the table of runs
    seeds : iterations of every cell
    hours : after which no new run starts, or None
    codes : names of codes of the music, made by embed.py, to add to the study

    Returns the commands that are left. Raises UserError when a command fails.
    """
    began, models = time.monotonic(), Path(settings["paths"]["models"])
    path = out / study_results.RUNS
    runs, left, called = study_results.read(path), [], []
    for seed, cell in _missing(path, runs, _order(seeds, codes)):
        if hours is not None and time.monotonic() - began > 3600 * hours:
            left.append(shlex.join(["python3", *cell.line, *_alone(seed)]))
            continue
        for line in filter(None, (pretraining(cell), cell.line)):
            line = [*line, *_alone(seed)]
            if line not in called:  # cells share their pretraining
                _call(line)
                called.append(line)
        runs = pd.concat([runs, _row(cell, seed, cell.run(models, seed))], ignore_index=True)
        files.write_text(path, runs.to_csv(index=False))
    return left


def _alone(seed: int) -> list[str]:
    """Flags for this iteration alone: earlier ones may be in the table but not on this machine."""
    return ["--iterations", str(seed + 1), f"--set=run.first={seed}"]


def _missing(
    path: Path, runs: pd.DataFrame, wanted: Sequence[tuple[int, Cell]]
) -> list[tuple[int, Cell]]:
    """The runs in `wanted` (seed, cell) without a row in `runs`, which was read from `path`.

    Raises UserError where a row has other settings than the study: a table holds one study.
    """
    known = runs.set_index([*study_results.CELL, "iteration"])["command"].to_dict()
    missing = []
    for seed, cell in wanted:
        command = known.get((cell.model, cell.source, cell.mode, cell.labels, seed))
        if command is None:
            missing.append((seed, cell))
            continue
        differ = run_record.differences(
            deciding_settings(command), deciding_settings(shlex.join(cell.line))
        )
        if differ:
            raise UserError(
                f"{path} has a run of {cell.model}, {cell.mode}, of {cell.tag}, seed {seed}, with "
                f"other settings than the study's ({'; '.join(differ)}): move that file away, or "
                "give another folder with --out"
            )
    return missing


def deciding_settings(command: str) -> dict:
    """The values that decide the result of a command, except cell and seed, by name: folds, epochs
    and settings, in any order and spelling."""
    words, values = re.sub(r"(--[a-z]+)=", r"\1 ", command).split(), {}
    for flag, value in itertools.pairwise(words):
        if flag in ("--folds", "--groups", "--epochs", "--seed"):
            values[flag] = value
        elif flag == "--set":
            name, _, text = value.partition("=")
            values[name] = configuration.typed(name, text)
    return values


def _call(line: list[str]) -> None:
    """Run a script of the suite in this process, as from the shell.

    Raises UserError when it fails, SystemExit when it is interrupted: the script prints why.
    """
    say(f"$ python3 {shlex.join(line)}")
    module = importlib.import_module(line[0].removesuffix(".py"))
    keras = importlib.import_module("keras")
    keras.utils.clear_session()  # else every model stays in memory
    before, sys.argv = sys.argv, line  # run.json records it as the command
    try:
        status = module.main(line[1:])
    finally:
        sys.argv = before
    if status > 128:
        raise SystemExit(status)
    if status:
        raise UserError(f"the command failed with status {status}: fix it and run the study again")


def _row(cell: Cell, seed: int, run: Path) -> pd.DataFrame:
    """The row of a finished run, with the columns of study_results.read."""
    record = files.read_json(run / "run.json") or {}
    run_record.check_files(run, record, [predictions_table.PREDICTIONS])
    table = predictions_table.read(run / predictions_table.PREDICTIONS)
    measures = predictions_table.measures(table)
    f1 = {task: result["macro_f1"] for task, result in measures["clip"].items()}
    clips = predictions_table.confusions(table)["clip"]["quadrants"]  # one prediction each
    folds = [files.read_json(fold / "run.json") for fold in folds_of(run)]
    row = asdict(cell) | {
        "iteration": seed,
        "labelled": round(cell.labels * len(clips) * (1 - 1 / FOLDS)),
        "window_f1": measures["window"]["quadrants"]["macro_f1"],
        "clip_f1": f1["quadrants"],
        "arousal_f1": f1["arousal"],
        "valence_f1": f1["valence"],
        "seconds": sum(fold["seconds"] for fold in folds),
        "run_sha256": files.file_hash(run / "run.json"),
        "command": shlex.join(cell.line),
        "true": _digits(clips.sum(axis=2).argmax(axis=1)),
        "predicted": _digits(clips.sum(axis=1).argmax(axis=1)),
    }
    return pd.DataFrame([row])


def _digits(quadrants: np.ndarray) -> str:
    return "".join(str(quadrant + 1) for quadrant in quadrants)
