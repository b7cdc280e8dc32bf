"""The transfer stage, for any encoder: encoder + music -> classifier, scored on the test clips.

"feat_ext" trains the heads on codes of the frozen encoder; "full" releases everything from there;
"scratch" trains encoder and heads together from random weights (the baselines); "probe" is a
support vector machine on the codes of a clip, or on its log-mel statistics.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras

from lib import configuration
from lib.artefacts import files, run_name, run_record
from lib.configuration import Settings
from lib.console import say
from lib.datasets import dataset_file
from lib.datasets import folds as datasets_folds
from lib.datasets.folds import Folds
from lib.datasets.windows import budget, pooled
from lib.errors import UserError
from lib.labels import LANGUAGES, TASKS
from lib.models import catalogue, emotion_heads, saved_models
from lib.training import seeds
from lib.training.hardware import Machine
from lib.transfer import classifier_run, cross_validation, frozen_codes
from lib.transfer.transfer_job import Job


def transfer(
    model: str,
    speech: str,
    music: str,
    release: bool,
    settings: Settings,
    folder: Path,
    *,
    probe: bool = False,
    folds: Folds | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Train and score a classifier, once per iteration that `settings["run"]` asks for.

    Parameters
    ----------
    model : name of the encoder, or of a baseline (then `speech` is ignored)
    speech : what the encoder is pretrained on, as of Job
    music : "e" or "m"
    release : True for "Full" (the frozen step is trained first where it is not finished), False
        for "Feat. Ext."
    folder : of the music data set
    probe : a support vector machine on the frozen encoder's codes, in the place of heads
    folds : cross-validate instead of testing on the data set's test split
    overwrite : train again what is finished

    Returns the run directories.
    """
    baseline = catalogue.spec(model).baseline
    probe = probe or catalogue.spec(model).probe
    if probe and release:
        raise UserError("a probe is of the frozen encoder: use -rel n")
    if baseline and release:
        raise UserError(f"{model} is trained from scratch in one step: use -rel n")
    if baseline:
        if speech != "n":
            say(f"{model} learns from music alone: -s {speech} is ignored")
        speech, release = "n", not probe
    make = f"python3 generate_dataset.py -d m -l {music}"
    memory = budget(settings["training"]["memory_gb"])
    data = dataset_file.read_folder(
        folder,
        ("train", "val", "test"),
        settings["features"],
        "music",
        LANGUAGES[music],
        make,
        memory / 3 if folds else memory,  # the folds are of all three
    )
    say(
        f"{LANGUAGES[music]} music: "
        + ", ".join(f"{len(w)} windows of {len(w.table)} clips ({n})" for n, w in data.items())
    )
    machine = Machine(settings["training"])
    job = Job(model, speech, music, settings, folder, data, machine, overwrite, probe)
    one = _one
    if folds:
        job, one = replace(job, folds=folds, pool=pooled(list(data.values()))), _cross_validate
    return [
        list(one(job, iteration, release).values())[-1]
        for iteration in configuration.iterations(settings)
    ]


def _one(job: Job, iteration: int, release: bool) -> dict[str, Path]:
    """One iteration; the run directory of each step."""
    labelled = job.with_labels(iteration)
    few = [
        f"{len(windows.table)} clips ({name})"
        for name, windows in labelled.data.items()
        if len(windows.table) < len(job.data[name].table)
    ]
    if few:
        say(f"labels used: of {', '.join(few)}")
    return _steps(labelled, iteration, release)


def _steps(job: Job, iteration: int, release: bool) -> dict[str, Path]:
    """All steps of one iteration (of one fold); the run directory of each."""
    if job.probe:
        return {"probe": _probe(job, iteration)}
    if job.speech == "n" and release:
        return {"scratch": _scratch(job, iteration)}
    runs = {"feat_ext": _feat_ext(job, iteration, wanted=not release)}
    if release:
        runs["full"] = _full(job, iteration, runs["feat_ext"])
    return runs


def _cross_validate(job: Job, iteration: int, release: bool) -> dict[str, Path]:
    """One iteration of every fold, and what they give together, of each step."""
    began, found = time.time(), []
    share, seed = job.settings["dataset"]["val"], job.settings["run"]["seed"]
    for part in datasets_folds.divide(job.pool, job.folds, job.folder, share, seed):
        fold = job.fold(part, iteration)
        sizes = ", ".join(f"{len(rows)} clips ({n})" for n, rows in fold.part.rows.items())
        say(f"fold {part.number} of {job.folds.count}: {sizes}")
        found.append(_steps(fold, iteration, release))
    runs = {mode: job.whole(mode, iteration) for mode in found[0]}
    for mode, run in runs.items():
        with files.locked(run):
            folds = [one[mode] for one in found]
            cross_validation.summarise(
                run, folds, {"model": job.model, "iteration": iteration}, began
            )
    return runs


def _scratch(job: Job, iteration: int) -> Path:
    """Encoder and heads from random weights."""

    def build() -> keras.Model:
        return _classifier(catalogue.spec(job.model).build(job.settings), job.settings)

    own = dict.fromkeys([catalogue.spec(job.model).size, "network"])
    inputs = job.inputs(iteration, *own, "heads", "transfer", "augment")
    return _step(job, "scratch", iteration, inputs, build, "transfer")


def _feat_ext(job: Job, iteration: int, wanted: bool) -> Path:
    """The frozen step; `wanted` is False when it only prepares the released one."""
    encoder, identity = _encoder(job, iteration)

    def build() -> keras.Model:
        return _classifier(encoder, job.settings)

    inputs = job.inputs(iteration, "heads", "transfer", "augment")
    inputs["encoder"] = identity
    if not wanted:  # --epochs then speaks of the released step alone
        same = inputs | {"transfer": inputs["transfer"] | _epochs(job.run("feat_ext", iteration))}
        if run_record.finished(job.run("feat_ext", iteration), same, job.overwrite, keep_same=True):
            inputs = same  # else it is trained, with the epochs asked for
    return _step(job, "feat_ext", iteration, inputs, build, "transfer", keep_same=not wanted)


def _epochs(run: Path) -> dict:
    """The epochs that a finished run was asked for; nothing where there is none."""
    inputs = (files.read_json(run / "run.json") or {}).get("inputs")
    section = inputs.get("transfer") if isinstance(inputs, dict) else None
    known = isinstance(section, dict) and "epochs" in section
    return {"epochs": section["epochs"]} if known else {}


def _probe(job: Job, iteration: int) -> Path:
    """A support vector machine per task, on what a clip's codes or its log-mel are like."""
    run, encoder = job.run("probe", iteration), None
    spec = catalogue.spec(job.model)
    own = () if spec.probe else (spec.size,)
    inputs = job.inputs(iteration, *own)
    if not spec.probe:
        encoder, inputs["encoder"] = _encoder(job, iteration)
    with files.locked(run):
        if run_record.finished(run, inputs, job.overwrite):
            say(f"{run} is finished already")
        else:
            parents = _parents(job, "probe", iteration)
            classifier_run.probe(job, run, iteration, inputs, encoder, parents)
    return run


def _pretraining(job: Job, iteration: int) -> tuple[Path, int]:
    """The run directory of the pretraining that a job starts from, and its iteration."""
    chosen = job.settings["transfer"]["encoder_iteration"]
    number, models = iteration if chosen < 0 else chosen, job.settings["paths"]["models"]
    if job.speech != "u":
        return run_name.pretraining_run(models, job.speech, job.model, number), number
    folds = job.folds.name if job.folds else ""
    run = run_name.pretraining_run(models, job.music, job.model, number, "music", folds)
    return (run / f"fold_{job.part.number}" if job.part else run), number


def _encoder(job: Job, iteration: int) -> tuple[keras.Model, str]:
    """The pretrained encoder, or one with random weights, and what identifies it."""
    if job.speech == "n":
        seed = job.settings["run"]["seed"]
        keras.utils.set_random_seed(seeds.run_seed(seed, iteration))
        encoder = catalogue.spec(job.model).build(job.settings)
        return encoder, frozen_codes.identity(encoder)
    run, number = _pretraining(job, iteration)
    script = f"pretrain_{catalogue.spec(job.model).script}.py"
    source = f"-m {job.music}" if job.speech == "u" else f"-s {job.speech}"
    make = f"python3 {script} {source} -mod {job.model}"
    if job.speech == "u" and job.folds:
        make += f" --folds {job.folds.count}"
        make += f" --groups {job.folds.groups}" if job.folds.groups else ""
    make += f" --iterations {number + 1}" if number else ""
    features = job.settings["features"]
    encoder, path = saved_models.load_encoder(run, job.model, number, features, make)
    return encoder, files.file_hash(path)


def _full(job: Job, iteration: int, parent: Path) -> Path:
    """The released step, from the finished frozen run `parent`."""

    def build() -> keras.Model:
        return saved_models.load_model(
            parent / "model.keras", "train that step again (-rel n --overwrite)"
        )

    inputs = job.inputs(iteration, "release", "augment")
    path = parent / "model.keras"
    inputs["feat_ext"] = files.file_hash(path) if path.is_file() else None
    return _step(job, "full", iteration, inputs, build, "release")


def _classifier(encoder: keras.Model, settings: Settings) -> keras.Model:
    return emotion_heads.classifier(
        encoder,
        emotion_heads.build(
            encoder.output_shape[-1],
            TASKS,
            **settings["heads"],
            dropout=settings["network"]["dropout"],
        ),
    )


def _parents(job: Job, mode: str, iteration: int) -> dict:
    """The inputs of the runs that a step goes on from, by step."""
    if mode == "full":
        record = files.read_json(job.run("feat_ext", iteration) / "run.json") or {}
        return {"feat_ext": record.get("inputs"), **record.get("parents", {})}
    if mode in ("feat_ext", "probe") and job.speech != "n":
        run, _ = _pretraining(job, iteration)
        return {"pretraining": (files.read_json(run / "run.json") or {}).get("inputs")}
    return {}


def _step(
    job: Job,
    mode: str,
    iteration: int,
    inputs: dict,
    build: Callable[[], keras.Model],
    section: str,
    keep_same: bool = False,
) -> Path:
    """Train, evaluate and write one run, unless it is finished already."""
    run = job.run(mode, iteration)
    with files.locked(run):
        if run_record.finished(run, inputs, job.overwrite, keep_same):
            say(f"{run} is finished already")
        else:
            parents = _parents(job, mode, iteration)
            classifier_run.train(job, run, mode, iteration, inputs, build, section, parents)
    return run
