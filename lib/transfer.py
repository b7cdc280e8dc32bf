"""The transfer stage, for any encoder: encoder + music -> classifier, scored on the test clips.

"feat_ext" trains the heads on codes of the frozen encoder; "full" releases everything from there;
"scratch" trains encoder and heads together from random weights (the baselines); "probe" is a
support vector machine on the codes of a clip, or on its log-mel statistics.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from lib import (
    artefacts,
    augmentation,
    batches,
    crossval,
    datasets,
    encoders,
    execution,
    frozen,
    heads,
    loading,
    plots,
    probing,
    scoring,
    splits,
    training,
)
from lib.cli import say
from lib.config import Settings
from lib.crossval import Folds, Part
from lib.errors import UserError
from lib.execution import Machine
from lib.registry import BASELINES, DENOISERS, LANGUAGES, PROBE, TASKS
from lib.windows import Windows, budget, pooled

MEASURE = "quadrants_balanced_accuracy"  # what is shown of a training beside the losses


@dataclass(frozen=True)
class Job:
    """What is transferred to what; `folder` of the music.

    speech : "e", "m", "x", "u" (the music itself without its labels) or "n" (random weights)

    In a cross-validation `data` is of the fold `part`, whose rows are those of `pool`.
    """

    model: str
    speech: str
    music: str
    settings: Settings
    folder: Path
    data: dict[str, Windows]
    machine: Machine
    overwrite: bool
    probe: bool = False
    folds: Folds | None = None
    pool: Windows | None = None
    part: Part | None = None

    def whole(self, mode: str, iteration: int) -> Path:
        """The run directory of a step; in a cross-validation, that of all folds."""
        names = (self.speech, self.music, self.model, mode, iteration)
        folds, tag = self.folds.name if self.folds else "", self.settings["run"]["tag"]
        return artefacts.transfer_run(self.settings["paths"]["models"], *names, folds, tag)

    def run(self, mode: str, iteration: int) -> Path:
        """The run directory of a step; in a cross-validation, that of the fold."""
        whole = self.whole(mode, iteration)
        return whole / f"fold_{self.part.number}" if self.part else whole

    def fold(self, part: Part) -> Job:
        """The job of one fold."""
        data = {name: self.pool.subset(rows) for name, rows in part.rows.items()}
        return replace(self, data=data, part=part)


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
    """Train and score a classifier, `settings["run"]["iterations"]` times.

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
    baseline = model in BASELINES
    probe = probe or model == PROBE
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
    data = datasets.read_folder(
        folder,
        ("train", "val", "test"),
        settings["features"],
        "music",
        LANGUAGES[music],
        make,
        memory / 3 if folds else memory,  # the folds are of all three
    )
    if not folds:
        data = _labelled(data, settings)
    say(
        f"{LANGUAGES[music]} music: "
        + ", ".join(f"{len(w)} windows of {len(w.table)} clips ({n})" for n, w in data.items())
    )
    machine = Machine(settings["training"], Path(settings["paths"]["machine"]))
    job = Job(model, speech, music, settings, folder, data, machine, overwrite, probe)
    iterations = range(settings["run"]["iterations"])
    one = _one
    if folds:
        job, one = replace(job, folds=folds, pool=pooled(list(data.values()))), _cross_validate
    return [list(one(job, iteration, release).values())[-1] for iteration in iterations]


def _one(job: Job, iteration: int, release: bool) -> dict[str, Path]:
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
    for part in crossval.divide(job.pool, job.folds, job.folder, share, seed):
        part = replace(part, rows=_few_labels(job.pool, part.rows, job.settings))
        sizes = ", ".join(f"{len(rows)} clips ({name})" for name, rows in part.rows.items())
        say(f"fold {part.number} of {job.folds.count}: {sizes}")
        found.append(_one(job.fold(part), iteration, release))
    runs = {mode: job.whole(mode, iteration) for mode in found[0]}
    for mode, run in runs.items():
        with artefacts.locked(run):
            folds = [one[mode] for one in found]
            crossval.summarise(run, folds, {"model": job.model, "iteration": iteration}, began)
    return runs


def _labelled(data: Mapping[str, Windows], settings: Settings) -> dict[str, Windows]:
    """The splits, of those with labels to learn from the share that settings ask for."""
    rows = {name: np.arange(len(windows.table)) for name, windows in data.items()}
    few = {
        name: _few_labels(data[name], {name: all_rows}, settings)[name]
        for name, all_rows in rows.items()
    }
    return {n: w if len(few[n]) == len(w.table) else w.subset(few[n]) for n, w in data.items()}


def _few_labels(
    pool: Windows, rows: Mapping[str, np.ndarray], settings: Settings
) -> dict[str, np.ndarray]:
    """Of the rows of each split those that settings["transfer"]["labels"] leaves; all of the test.

    A share of every quadrant, at least one clip; a smaller share lies inside a larger one.
    """
    share, seed = settings["transfer"]["labels"], settings["run"]["seed"]
    quadrants = pool.table["quadrant"].to_numpy()
    kept = dict(rows)
    for number, name in enumerate(("train", "val")):
        if share < 1 and name in rows:
            order = np.random.default_rng([seed, number]).permutation(rows[name])
            of = [order[quadrants[order] == q] for q in TASKS["quadrants"]]
            kept[name] = np.sort(np.concatenate([r[: max(1, round(share * len(r)))] for r in of]))
    return kept


def _scratch(job: Job, iteration: int) -> Path:
    """Encoder and heads from random weights."""

    def build() -> keras.Model:
        return _classifier(encoders.build(job.model, job.settings), job.settings)

    own = dict.fromkeys([encoders.section(job.model), "network"])
    inputs = _inputs(job, iteration, *own, "heads", "transfer", "augment")
    return _step(job, "scratch", iteration, inputs, build, "transfer")


def _feat_ext(job: Job, iteration: int, wanted: bool) -> Path:
    """The frozen step; `wanted` is False when it only prepares the released one."""
    encoder, identity = _encoder(job, iteration)

    def build() -> keras.Model:
        return _classifier(encoder, job.settings)

    inputs = _inputs(job, iteration, "heads", "transfer", "augment")
    inputs["encoder"] = identity
    finished = artefacts.read_json(job.run("feat_ext", iteration) / "run.json")
    if finished and not wanted:  # --epochs then speaks of the released step alone
        epochs = finished.get("inputs", {}).get("transfer", {}).get("epochs")
        inputs["transfer"] = inputs["transfer"] | {"epochs": epochs}
    return _step(job, "feat_ext", iteration, inputs, build, "transfer", keep_same=not wanted)


def _probe(job: Job, iteration: int) -> Path:
    """A support vector machine per task, on what a clip's codes or its log-mel are like."""
    run, encoder = job.run("probe", iteration), None
    own = () if job.model == PROBE else (encoders.section(job.model), "network")
    inputs = _inputs(job, iteration, *own)
    inputs["labels"] = job.settings["transfer"]["labels"]
    if job.model != PROBE:
        encoder, inputs["encoder"] = _encoder(job, iteration)
    with artefacts.locked(run):
        if artefacts.finished(run, inputs, job.overwrite):
            say(f"{run} is finished already")
            return run
        began, features, known = time.time(), {}, pooled([job.data["train"], job.data["val"]])
        if encoder is None:
            for name, windows in (("train", known), ("test", job.data["test"])):
                features[name] = probing.log_mel_statistics(windows)
        else:
            takes = _coded(job, encoder, inputs["encoder"], 256)
            each = {n: probing.code_statistics(job.data[n], take) for n, take in takes.items()}
            features = {"train": np.concatenate([each["train"], each["val"]])}
            features["test"] = each["test"]
        groups = splits.kept_together(known.table, "group", known.table["recording"])
        _, first = np.unique(known.recording, return_index=True)
        labels = {task: values[first] for task, values in known.labels().items()}
        sizes = {task: len(classes) for task, classes in TASKS.items()}
        found, chosen = probing.fit_predict(features, labels, groups.to_numpy(), sizes)
        test = job.data["test"]
        each = {task: values[test.recording] for task, values in found.items()}
        table = scoring.predictions(test, each, job.settings["features"])
        with artefacts.whole_folder(run) as new:
            levels = scoring.write(table, new, _title(job, "probe", iteration), job.part is None)
            parents = _parents(job, "probe", iteration)
            artefacts.write_run(
                new, inputs, {"C": chosen}, None, job.machine.chosen, began, parents
            )
    say(f"test, macro F1 per clip: {_shown(levels['clip'])}", f"more in {run / 'report.txt'}")
    return run


def _title(job: Job, mode: str, iteration: int) -> str:
    """How figures and reports call a run."""
    whole = job.whole(mode, iteration)
    fold = f", fold {job.part.number}" if job.part else ""
    return f"{whole.parent.name}, {whole.name}{fold}"


def _shown(tasks: Mapping) -> str:
    return ", ".join(f"{task} {result['macro_f1']:.3f}" for task, result in tasks.items())


def _pretraining(job: Job, iteration: int) -> tuple[Path, int]:
    """The run directory of the pretraining that a job starts from, and its iteration."""
    chosen = job.settings["transfer"]["encoder_iteration"]
    number, models = iteration if chosen < 0 else chosen, job.settings["paths"]["models"]
    if job.speech != "u":
        return artefacts.pretraining_run(models, job.speech, job.model, number), number
    folds = job.folds.name if job.folds else ""
    run = artefacts.pretraining_run(models, job.music, job.model, number, "music", folds)
    return (run / f"fold_{job.part.number}" if job.part else run), number


def _encoder(job: Job, iteration: int) -> tuple[keras.Model, str]:
    """The pretrained encoder, or one with random weights, and what identifies it."""
    if job.speech == "n":
        seed = job.settings["run"]["seed"]
        keras.utils.set_random_seed(training.run_seed(seed, iteration))
        encoder = encoders.build(job.model, job.settings)
        return encoder, frozen.identity(encoder)
    run, number = _pretraining(job, iteration)
    script = "pretrain_denoise.py" if job.model in DENOISERS else "pretrain_cpc.py"
    source = f"-m {job.music}" if job.speech == "u" else f"-s {job.speech}"
    make = f"python3 {script} {source} -mod {job.model}"
    if job.speech == "u" and job.folds:
        make += f" --folds {job.folds.count}"
        make += f" --groups {job.folds.groups}" if job.folds.groups else ""
    make += f" --iterations {number + 1}" if number else ""
    features = job.settings["features"]
    encoder, path = loading.load_encoder(run, job.model, number, features, make)
    return encoder, artefacts.file_hash(path)


def _full(job: Job, iteration: int, parent: Path) -> Path:
    """The released step, from the finished frozen run `parent`."""

    def build() -> keras.Model:
        return loading.load_model(
            parent / "model.keras", "train that step again (-rel n --overwrite)"
        )

    inputs = _inputs(job, iteration, "release", "augment")
    path = parent / "model.keras"
    inputs["feat_ext"] = artefacts.file_hash(path) if path.is_file() else None
    return _step(job, "full", iteration, inputs, build, "release")


def _classifier(encoder: keras.Model, settings: Settings) -> keras.Model:
    return heads.classifier(
        encoder,
        heads.build(
            encoder.output_shape[-1],
            TASKS,
            **settings["heads"],
            dropout=settings["network"]["dropout"],
        ),
    )


def _inputs(job: Job, iteration: int, *sections: str) -> dict:
    """All that decides the result of a step, for run.json."""
    return {
        "model": job.model,
        "seed": job.settings["run"]["seed"],
        "iteration": iteration,
        "dataset": {name: windows.identity for name, windows in job.data.items()},
        "features": job.settings["features"],
        "network": job.settings["network"],
        **{name: job.settings[name] for name in sections},
        "training": artefacts.decisive(job.settings["training"]),
    }


def _parents(job: Job, mode: str, iteration: int) -> dict:
    """The inputs of the runs that a step goes on from, by step."""
    if mode == "full":
        record = artefacts.read_json(job.run("feat_ext", iteration) / "run.json") or {}
        return {"feat_ext": record.get("inputs"), **record.get("parents", {})}
    if mode in ("feat_ext", "probe") and job.speech != "n":
        run, _ = _pretraining(job, iteration)
        return {"pretraining": (artefacts.read_json(run / "run.json") or {}).get("inputs")}
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
    with artefacts.locked(run):
        if artefacts.finished(run, inputs, job.overwrite, keep_same):
            say(f"{run} is finished already")
        else:
            _train(job, run, mode, iteration, inputs, build, section)
    return run


def _train(
    job: Job,
    run: Path,
    mode: str,
    iteration: int,
    inputs: dict,
    build: Callable[[], keras.Model],
    section: str,
) -> None:
    say(f"training {job.model}, {mode}, iteration {iteration} -> {run}")
    began = time.time()
    seed = training.run_seed(job.settings["run"]["seed"], iteration)
    keras.utils.set_random_seed(seed)
    model = build()
    size = _predict_windows(job, model)
    trained, takes = model, {name: windows.take for name, windows in job.data.items()}
    if mode == "feat_ext":  # the heads alone, on codes that the encoder computes once
        trained = model.get_layer("heads")
        takes = _coded(job, model.get_layer("encoder"), inputs["encoder"], size)
    slow = model.get_layer("encoder").trainable_variables if mode == "full" else ()
    outcome, history = _fit(job, trained, takes, run, section, seed, inputs, size, slow)
    title = _title(job, mode, iteration)
    before = []
    if mode == "full":
        first = job.run("feat_ext", iteration) / "history.csv"
        before = pd.read_csv(first).to_dict("records") if first.is_file() else []
    with artefacts.whole_folder(run) as new:
        model.save(new / "model.keras")
        plots.curves(history, new / "curves.png", title, MEASURE, before)
        scored = execution.for_prediction(trained, job.settings["training"]["predict_dtype"])
        probabilities = _predict(scored, takes["test"], len(job.data["test"]), size)
        table = scoring.predictions(job.data["test"], probabilities, job.settings["features"])
        levels = scoring.write(table, new, title, job.part is None)
        chosen, parents = job.machine.chosen, _parents(job, mode, iteration)
        artefacts.write_run(new, inputs, outcome, history, chosen, began, parents)
    for level, tasks in levels.items():
        say(f"test, macro F1 per {level}: {_shown(tasks)}")
    say(f"more in {run / 'report.txt'}")


def _fit(
    job: Job,
    model: keras.Model,
    takes: dict[str, batches.Take],
    run: Path,
    section: str,
    seed: int,
    inputs: dict,
    predict_windows: int,
    slow: list,
) -> tuple[dict, list[dict]]:
    """Train what maps windows, or codes, to the tasks, in place; `takes` gives them by split.

    slow : variables that learn at the encoder's rate
    """
    settings = job.settings
    number, own = settings["augment"]["windows_per_epoch"], job.data["train"]
    labels = {name: job.data[name].labels() for name in ("train", "val")}
    weights = batches.balanced_weights(
        labels["train"], {task: len(classes) for task, classes in TASKS.items()}
    )
    sizes = {"train": settings[section]["batch_windows"], "val": predict_windows}
    served = {
        name: batches.Labelled(
            takes[name],
            labels[name],
            weights,
            sizes[name],
            seed,
            shuffle=name == "train",
            order=partial(job.data[name].shuffled, job.data[name].recording),
        )
        for name in labels
    }
    served["train"].change = _changes(settings["augment"], model.input_shape)
    if 0 < number < len(own):
        served["train"].draw(number, partial(own.some, number))
    # the weights of the batches balance the classes, in the loss and here
    accuracy = partial(keras.metrics.CategoricalAccuracy, name="balanced_accuracy")
    return training.fit(
        model,
        served["train"],
        served["val"],
        run,
        job.machine,
        loss=dict.fromkeys(TASKS, "categorical_crossentropy"),
        metrics={task: [accuracy()] for task in TASKS},
        measure=MEASURE,
        section=settings[section],
        training=settings["training"],
        fingerprint=json.dumps(inputs, sort_keys=True),
        advice=training.advice(section, settings),
        anew=job.overwrite,
        slow=slow,
    )


def _changes(augment: Mapping, shape: tuple) -> Callable | None:
    """What section `augment` asks to be done to a batch; masks only where inputs are windows."""
    masks = [
        (axis, augment[f"{name}_masks"], augment[f"{name}_width"])
        for axis, name in ((1, "mel"), (2, "time"))
        if augment[f"{name}_masks"] and len(shape) == 4
    ]
    mixup, smoothing = augment["mixup"], augment["smoothing"]
    if not (masks or mixup or smoothing):
        return None

    def change(x, y, rng):
        for one in masks:
            x = augmentation.mask(x, rng, *one)
        if mixup:
            x, y = augmentation.mixup(x, y, rng, mixup)
        return x, augmentation.smooth(y, smoothing) if smoothing else y

    return change


def _predict_windows(job: Job, model: keras.Model) -> int:
    """Windows per step of prediction."""

    def speed(size: int) -> float:
        some = job.data["train"].take(np.arange(size) % len(job.data["train"]))
        return execution.speed_of(lambda: model.predict_on_batch(some), size)

    return job.machine.predict_windows(job.model, sum(map(len, job.data.values())), speed)


def _coded(job: Job, encoder: keras.Model, identity: str, size: int) -> dict[str, batches.Take]:
    """What gives the codes of the windows of each split; `identity` of the encoder.

    In a cross-validation the codes are those of the pool, which all folds share.
    """
    how = (encoder, identity, job.folder, job.settings["training"], size)
    if job.pool is None:
        return {name: frozen.codes(w, name, *how) for name, w in job.data.items()}
    codes = frozen.codes(job.pool, "all clips", *how)
    own = {name: job.pool.windows_of(rows) for name, rows in job.part.rows.items()}
    return {name: lambda chosen, own=own[name]: codes(own[chosen]) for name in own}


def _predict(model: keras.Model, take: batches.Take, items: int, size: int) -> dict:
    """Probabilities : {task: float32 (items, classes)}, `size` items at a time."""
    found = model.predict(batches.Inputs(take, items, size), verbose=0)
    return {task: values[:items] for task, values in found.items()}
