"""The tuning stage: which settings give another stage its lowest validation loss.

A search of Optuna's (TPE: Bergstra et al. 2011, NeurIPS). Every trial is one run of the stage; its
value is the validation loss of its best epoch, by which the stages select too.

    <path_to_models>/models/tuning/<study>/
        study.db      Optuna's own storage, from which the same line goes on
        trials.csv    a row per trial
        log.txt       what the stage printed
        trial_<n>/    run.json and history.csv of a finished trial; its models are not kept
        work/         the trial that is being trained
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import keras

from lib import artefacts, datasets, spaces
from lib.cli import say
from lib.config import Settings
from lib.errors import Diverged, UserError
from lib.pretraining import pretrain
from lib.registry import BASELINES, DENOISERS, LANGUAGES
from lib.training import run_seed
from lib.transfer import transfer
from lib.windows import budget

try:
    import optuna
    from optuna.trial import FrozenTrial, TrialState
    from sqlalchemy.exc import SQLAlchemyError  # Optuna's own, raised through it
except ImportError as error:
    raise UserError("tune.py needs Optuna: pip install -r requirements-tune.txt") from error

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)  # pruned: the loss was not finite


@dataclass(frozen=True)
class Search:
    """What is searched, and what stays fixed.

    stage : one of spaces.STAGES
    music, release : of a transfer; else None and False
    settings : of every trial, but for what is searched
    folder : of the data set
    space : as of spaces.read
    line : of the stage, with what is fixed by flags
    """

    stage: str
    model: str
    speech: str
    music: str | None
    release: bool
    settings: Settings
    folder: Path
    space: dict[str, dict]
    line: str

    @property
    def study(self) -> Path:
        """The folder of the study."""
        speech = "none" if self.model in BASELINES else self.speech
        name = f"{self.stage}.{speech}.{self.model}"
        if self.music:
            mode = "full" if self.release else "feat_ext"
            name = f"{self.stage}.{speech}_2_{self.music}.{self.model}.{mode}"
        return Path(self.settings["paths"]["models"]) / "models" / "tuning" / name

    def parents(self) -> dict[Path, str]:
        """The files that every trial starts from (encoder, frozen step), and the lines for them."""
        if not self.music or self.model in BASELINES:
            return {}
        models = self.settings["paths"]["models"]
        number = max(0, self.settings["transfer"]["encoder_iteration"])
        encoder = (
            artefacts.pretraining_run(models, self.speech, self.model, number) / "encoder.keras"
        )
        script = "pretrain_denoise" if self.model in DENOISERS else "pretrain_cpc"
        runs = f" --iterations {number + 1}" if number else ""
        parents = {encoder: f"python3 {script}.py -s {self.speech} -mod {self.model}{runs}"}
        if self.release:
            names = (self.speech, self.music, self.model, "feat_ext", 0)
            frozen = artefacts.transfer_run(models, *names) / "model.keras"
            parents[frozen] = self.line.replace("-rel y", "-rel n")
        return parents

    def basis(self) -> dict:
        """All that the trials of one study have in common, as JSON has it.

        Raises UserError when the data set or a parent is not there.
        """
        kind, language = ("music", self.music) if self.music else ("speech", self.speech)
        data = datasets.read_folder(
            self.folder,
            ("train", "val", "test") if self.music else ("train", "val"),
            self.settings["features"],
            kind,
            LANGUAGES[language],
            f"python3 generate_dataset.py -d {kind[0]} -l {language}",
            budget(self.settings["training"]["memory_gb"]),
        )
        parents = self.parents()
        for file, line in parents.items():
            if not (file.is_file() and (file.parent / "run.json").is_file()):
                raise UserError(f"{file.parent} is not finished: run first\n  {line}")
        stage = spaces.STAGES[self.stage]  # the frozen step's sections too: it must be as they say
        searched = stage.searched(self.model, self.release)
        sections = ("features", *stage.sections(self.model), *searched)
        settings = {section: dict(self.settings[section]) for section in sections}
        settings["training"] = artefacts.decisive(self.settings["training"])
        for section, key in (name.split(".") for name in self.space):
            del settings[section][key]
        basis = {
            "search": self.space,
            "seed": self.settings["run"]["seed"],
            "dataset": {name: windows.identity for name, windows in data.items()},
            "start": {file.name: artefacts.file_hash(file) for file in parents},
            **settings,
        }
        return json.loads(json.dumps(basis))


def tune(search: Search, trials: int) -> None:
    """Train until `trials` trials of the study are finished; print the stage's line of the best.

    A trial whose loss stops being finite is one of them; it tells the sampler where not to look.

    Raises UserError when the study was begun with something else or is held by another process, and
    when no trial had a finite loss; and whatever the stage raises.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    basis, folder = search.basis(), search.study
    with artefacts.locked(folder):
        folder.mkdir(exist_ok=True)
        study = _study(folder, basis)
        count = len(study.get_trials(states=FINISHED))
        say(f"{folder}: {count}/{trials} trials finished; the stage's own lines go to log.txt")
        while count < trials:
            # draws depend on the trial's number, so that a search that goes on repeats none
            seed = run_seed(search.settings["run"]["seed"], len(study.trials))
            study.sampler = optuna.samplers.TPESampler(seed=seed)
            trial = study.ask({name: _distribution(kind) for name, kind in search.space.items()})
            try:
                study.tell(trial, _train(search, trial))
            except Diverged:
                study.tell(trial, state=TrialState.PRUNED)
            count += 1
            _report(study, count, trials, folder)
        best = _best(study)
    if best is None:
        raise UserError(
            f"no trial had a finite loss (see {folder / 'log.txt'}): move {folder} away, and "
            "search lower learning rates"
        )
    flags = " ".join(f"--set {name}={value}" for name, value in best.params.items())
    say(f"best: trial {best.number}, val_loss {best.value:.6g}", f"{search.line} {flags}")


def _distribution(kind: dict) -> optuna.distributions.BaseDistribution:
    if "choices" in kind:
        return optuna.distributions.CategoricalDistribution(**kind)
    if isinstance(kind["low"], int):
        return optuna.distributions.IntDistribution(**kind)
    return optuna.distributions.FloatDistribution(**kind)


def _study(folder: Path, basis: dict) -> optuna.Study:
    """The study of a folder, begun or gone on with; UserError when it was begun on another basis.

    One in which no trial was finished is begun anew. Trials of killed processes count as failed.
    """
    path = folder / "study.db"
    try:
        storage = optuna.storages.RDBStorage(  # not by its URL, which would end at a "?" in a path
            "sqlite://", engine_kwargs={"creator": lambda: sqlite3.connect(path)}
        )
        study = optuna.create_study(storage=storage, study_name=folder.name, load_if_exists=True)
        if not study.get_trials(states=FINISHED):
            optuna.delete_study(storage=storage, study_name=folder.name)
            study = optuna.create_study(storage=storage, study_name=folder.name)
            study.set_user_attr("basis", basis)
    except (SQLAlchemyError, optuna.exceptions.OptunaError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read ({reason}): move {folder} away") from error
    differ = artefacts.differences(study.user_attrs["basis"], basis)
    if differ:
        raise UserError(
            f"{folder} was begun with something else ({'; '.join(differ)}): use the same, or move "
            "that folder away to begin anew"
        )
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def _train(search: Search, trial: optuna.Trial) -> float:
    """Run the stage once with the settings of a trial; returns its best validation loss."""
    work, kept = search.study / "work", search.study / f"trial_{trial.number}"
    settings = copy.deepcopy(search.settings)
    models, settings["paths"]["models"] = settings["paths"]["models"], str(work)
    settings["run"]["iterations"] = 1
    for name, value in trial.params.items():
        section, key = name.split(".")
        settings[section][key] = value
    shutil.rmtree(work, ignore_errors=True)  # of a killed process
    for run in (file.parent for file in search.parents()):  # where the stage looks for it
        link = work / run.relative_to(models)
        link.parent.mkdir(parents=True)
        link.symlink_to(run.resolve())
    keras.utils.clear_session()  # else every trial's model stays in memory
    try:
        with open(search.study / "log.txt", "a") as log, contextlib.redirect_stdout(log):
            print(f"trial {trial.number}: {trial.params}")
            if search.music:
                job = (search.model, search.speech, search.music, search.release)
                run = transfer(*job, settings, search.folder)[0]
            else:
                run = pretrain(search.model, search.speech, settings, search.folder)[0]
        kept.mkdir(exist_ok=True)
        for name in ("history.csv", "run.json"):
            os.replace(run / name, kept / name)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return artefacts.read_json(kept / "run.json")["outcome"]["best_loss"]


def _report(study: optuna.Study, count: int, trials: int, folder: Path) -> None:
    """Write the table of the trials, and say how the last one went."""
    table = study.trials_dataframe(attrs=("number", "state", "value", "params"))
    table = table.rename(columns=lambda name: name.removeprefix("params_"))
    with artefacts.atomic(folder / "trials.csv") as path:
        table.rename(columns={"value": "val_loss"}).to_csv(path, index=False)
    last, best = study.trials[-1], _best(study)
    loss = "not finite" if last.value is None else f"{last.value:.6g}"
    params = " ".join(f"{name}={value}" for name, value in last.params.items())
    known = f"best {best.value:.6g} (trial {best.number})" if best else "none finite yet"
    say(f"trial {last.number} ({count}/{trials}): val_loss {loss}, {params}, {known}")


def _best(study: optuna.Study) -> FrozenTrial | None:
    finite = [trial for trial in study.trials if trial.value is not None]
    return min(finite, key=lambda trial: trial.value, default=None)
