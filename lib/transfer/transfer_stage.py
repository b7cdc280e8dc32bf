"""The transfer stage, for any encoder: encoder + music -> classifier, scored on the test clips."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn.preprocessing import StandardScaler

from lib import configuration
from lib.artefacts import files, run_record
from lib.artefacts.run_name import RunName
from lib.configuration import Settings
from lib.console import say
from lib.datasets import dataset_file
from lib.datasets import folds as datasets_folds
from lib.datasets.windows import Windows, memory_limit, pooled
from lib.errors import UserError
from lib.labels import LANGUAGES, TASKS
from lib.models import catalogue, emotion_heads, saved_models
from lib.training.hardware import Machine
from lib.transfer import classifier_run, cross_validation, frozen_codes, recipes
from lib.transfer.transfer_job import Job, Step
from lib.transfer.transfer_plan import TransferPlan


def transfer(
    plan: TransferPlan, settings: Settings, folder: Path, *, overwrite: bool = False
) -> list[Path]:
    """Train and score a classifier, once per iteration of `settings["run"]`.

    Parameters
    ----------
    folder : of the music data set
    overwrite : train finished runs again

    Returns the run directories of the last step.
    """
    # with codes from files, only the table of the data set is needed
    memory = 0 if plan.codes else memory_limit(settings["training"]["memory_gb"])
    data = dataset_file.read_folder(
        folder,
        ("train", "val", "test"),
        settings["features"],
        "music",
        LANGUAGES[plan.music],
        memory / 3 if plan.folds else memory,  # folds are made from all three
    )
    pool = pooled(list(data.values())) if plan.folds else None
    if plan.codes:
        plan.codes.check(itertools.chain(*(w.table["recording"] for w in data.values())))
        data = {name: plan.codes.rows(windows) for name, windows in data.items()}
        pool = plan.codes.rows(pool) if pool else None
    if plan.teacher:
        plan.teacher.check(itertools.chain(*(w.table["recording"] for w in data.values())))
    unit = "codes" if plan.codes else "windows"
    sizes = [f"{len(w)} {unit} of {len(w.table)} clips ({n})" for n, w in data.items()]
    say(f"{LANGUAGES[plan.music]} music: {', '.join(sizes)}")
    machine = Machine(settings["training"])
    synthetic = _synthetic(folder)
    job = Job(plan, settings, folder, data, machine, overwrite, synthetic=synthetic, pool=pool)
    walk = _cross_validate if plan.folds else _train_labelled
    return [walk(job, iteration)[-1] for iteration in configuration.iterations(settings)]


def _synthetic(folder: Path) -> bool:
    """Whether a data set is of synthetic sound; one that does not say so is real."""
    record = files.read_json(folder / "dataset.json", datasets_folds.AGAIN) or {}
    return record.get("synthetic") is True


def _train_labelled(job: Job, iteration: int) -> list[Path]:
    """One iteration, with the labels that the settings keep in it; returns the run of each step."""
    _check_pretraining(job, iteration, job.data["train"])
    labelled = job.with_labels(iteration)
    few = [
        f"{len(windows.table)} clips ({name})"
        for name, windows in labelled.data.items()
        if len(windows.table) < len(job.data[name].table)
    ]
    if few:
        say(f"labels used: of {', '.join(few)}")
    return _train_steps(labelled, iteration)


def _cross_validate(job: Job, iteration: int) -> list[Path]:
    """One iteration of every fold, and a summary of the folds for each step; if nested, only for
    the last step, whose recipe is chosen."""
    began, fold_runs, choices = time.time(), [], []
    share, seed = job.settings["dataset"]["val"], job.seeds(iteration).split
    for part in datasets_folds.divide(job.pool, job.plan.folds, job.folder, share, seed):
        _check_pretraining(job, iteration, job.pool.subset(part.rows["train"]), part.number)
        fold = job.of_fold(part, iteration)
        sizes = ", ".join(f"{len(rows)} clips ({n})" for n, rows in fold.part.rows.items())
        say(f"fold {part.number} of {job.plan.folds.count}: {sizes}")
        if job.plan.grid:
            fold, choice = _choose(fold, iteration)
            choices.append(choice)
        fold_runs.append(_train_steps(fold, iteration))
    runs, table = [], pd.concat(choices) if choices else None
    steps = job.plan.steps[-1:] if choices else job.plan.steps
    for number, step in enumerate(steps, len(job.plan.steps) - len(steps)):
        name, parts = job.name(step, iteration), [walked[number] for walked in fold_runs]
        runs.append(job.path(name))
        with files.locked(runs[-1]):
            cross_validation.summarise(job, name, parts, began, table)
    return runs


def _choose(fold: Job, iteration: int) -> tuple[Job, pd.DataFrame]:
    """The job of a fold with the recipe that its inner folds choose, and the table of the choice
    from recipes.choose."""
    share, seed = fold.settings["dataset"]["val"], fold.seeds(iteration).split
    folds = replace(fold.plan.folds, count=recipes.INNER)
    parts = datasets_folds.divide_inner(fold.pool, fold.part, folds, share, seed)
    inner, scores = [fold.at(part) for part in parts], []
    for recipe in fold.plan.grid:
        runs = [_train_steps(job.with_recipe(recipe), iteration)[-1] for job in inner]
        scores.append([_inner_score(run) for run in runs])
        values = ", ".join(f"{score:.3f}" for score in scores[-1])
        say(f"fold {fold.part.number}, inner folds, quadrants per clip: {values} with {recipe}")
    choice = recipes.choose(fold.plan.grid, scores)
    choice.insert(0, "fold", fold.part.number)
    recipe = fold.plan.grid[int(choice["chosen"].argmax())]
    say(f"fold {fold.part.number}: chosen {recipe}")
    return fold.with_recipe(recipe), choice


def _inner_score(run: Path) -> float:
    """Macro F1 of the quadrants per clip of a finished run."""
    return files.read_json(run / "metrics.json")["clip"]["quadrants"]["macro_f1"]


def _train_steps(job: Job, iteration: int) -> list[Path]:
    """Train the steps of the plan that are not finished; returns the run of each step."""
    prepare = {"scratch": _scratch, "feat_ext": _feat_ext, "full": _full, "probe": _probe}
    if job.plan.codes:
        prepare = {"feat_ext": _feat_ext_of_codes, "probe": _probe_of_codes}
    runs = []
    for mode in job.plan.steps:
        step = prepare[mode](job, iteration)
        run = job.path(step.name)
        preparing = mode != job.plan.steps[-1] or bool(job.part and job.part.inner)
        with files.locked(run):
            if run_record.finished(run, step.inputs, job.overwrite, keep_same=preparing):
                say(f"{run} is finished already")
            elif mode == "probe":
                classifier_run.probe(job, step)
            else:
                classifier_run.train(job, step)
        runs.append(run)
    return runs


def _scratch(job: Job, iteration: int) -> Step:
    """Encoder and heads from random weights."""

    def build() -> keras.Model:
        return _classifier(catalogue.spec(job.plan.model).build(job.settings), job.settings)

    return Step(job.name("scratch", iteration), job.inputs("scratch", iteration), {}, build)


def _feat_ext(job: Job, iteration: int) -> Step:
    """The heads on the frozen encoder."""
    encoder, identity, parents = _encoder(job, iteration)
    name = job.name("feat_ext", iteration)
    inputs = job.inputs("feat_ext", iteration) | {"encoder": identity}
    # before "full", a finished frozen run is used even if it was trained with other --epochs
    if job.plan.steps[-1] == "full":
        same = inputs | {"transfer": inputs["transfer"] | _epochs(job.path(name))}
        if run_record.finished(job.path(name), same, job.overwrite, keep_same=True):
            inputs = same
    return Step(name, inputs, parents, partial(_classifier, encoder, job.settings))


def _epochs(run: Path) -> dict:
    """The requested epochs of a finished run; {} if there is no such run."""
    inputs = (files.read_json(run / "run.json") or {}).get("inputs")
    section = inputs.get("transfer") if isinstance(inputs, dict) else None
    known = isinstance(section, dict) and "epochs" in section
    return {"epochs": section["epochs"]} if known else {}


def _full(job: Job, iteration: int) -> Step:
    """Everything released, from the finished frozen run."""
    parent = job.path(job.name("feat_ext", iteration))
    path = parent / "model.keras"
    inputs = job.inputs("full", iteration)
    inputs["feat_ext"] = files.file_hash(path) if path.is_file() else None
    record = files.read_json(parent / "run.json") or {}
    parents = {"feat_ext": record.get("inputs"), **record.get("parents", {})}
    advice = "train that step again (-rel n --overwrite)"
    build = partial(saved_models.load_model, path, advice)
    return Step(job.name("full", iteration), inputs, parents, build)


def _probe(job: Job, iteration: int) -> Step:
    """A support vector machine per task, on the statistics of a clip's codes or its log-mel."""
    name, inputs = job.name("probe", iteration), job.inputs("probe", iteration)
    if catalogue.spec(job.plan.model).probe:
        return Step(name, inputs, {}, None)
    encoder, identity, parents = _encoder(job, iteration)
    return Step(name, inputs | {"encoder": identity}, parents, lambda: encoder)


def _feat_ext_of_codes(job: Job, iteration: int) -> Step:
    """The heads on codes from files."""
    inputs = job.inputs("feat_ext", iteration) | job.plan.codes.inputs
    build = partial(_code_classifier, job.data["train"], job.settings)
    return Step(job.name("feat_ext", iteration), inputs, {}, build, coded=True)


def _probe_of_codes(job: Job, iteration: int) -> Step:
    """A support vector machine per task, on codes from files."""
    inputs = job.inputs("probe", iteration) | job.plan.codes.inputs
    return Step(job.name("probe", iteration), inputs, {}, None, coded=True)


def _encoder(job: Job, iteration: int) -> tuple[keras.Model, str, dict]:
    """The encoder of the plan, what identifies it, and the inputs of its pretraining."""
    pretrained = _pretrained(job, iteration, job.part.number if job.part else None)
    if pretrained is None:
        keras.utils.set_random_seed(job.seeds(iteration).weights)
        encoder = catalogue.spec(job.plan.model).build(job.settings)
        return encoder, frozen_codes.identity(encoder), {}
    name, command = pretrained
    run = job.path(name)
    encoder, path = saved_models.load_encoder(
        run, name.model, name.iteration, job.settings["features"], command
    )
    inputs = (files.read_json(run / "run.json") or {}).get("inputs")
    return encoder, files.file_hash(path), {"pretraining": inputs}


def _pretrained(job: Job, iteration: int, fold: int | None) -> tuple[RunName, str] | None:
    """The pretraining that an iteration starts from, as TransferPlan.pretrained gives it."""
    number = job.settings["transfer"]["encoder_iteration"]
    return job.plan.pretrained(iteration if number < 0 else number, fold)


def _check_pretraining(job: Job, iteration: int, train: Windows, fold: int | None = None) -> None:
    """Raise UserError if an encoder was pretrained on other clips of the music than `train`: the
    clips of the test may be among them."""
    if job.plan.speech != "u":
        return
    name, command = _pretrained(job, iteration, fold)
    record = files.read_json(job.path(name) / "run.json") or {}
    data = record.get("inputs", {}).get("dataset")
    if data and data["train"].split(",")[0] != train.sha256:
        raise UserError(
            f"{job.path(name)} was pretrained on other clips than those to train on here, perhaps "
            "on test clips: use the data set, --seed and dataset.val of its run.json, or pretrain "
            f"again ({command} --overwrite)"
        )


def _classifier(encoder: keras.Model, settings: Settings) -> keras.Model:
    return emotion_heads.classifier(encoder, _heads(encoder.output_shape[-1], settings))


def _code_classifier(train: Windows, settings: Settings) -> keras.Model:
    """Heads on codes, which are standardised by the training codes."""
    scale = StandardScaler().fit(train.take(np.arange(len(train))))
    heads = _heads(len(scale.mean_), settings)
    return emotion_heads.code_classifier(scale.mean_, scale.scale_, heads)


def _heads(dimensions: int, settings: Settings) -> keras.Model:
    dropout = settings["network"]["dropout"]
    sizes = emotion_heads.HeadSizes(**settings["heads"], dropout=dropout)
    return emotion_heads.build(dimensions, TASKS, sizes)
