"""The transfer stage, for any encoder: encoder + music -> classifier, scored on the test clips.

"feat_ext" trains the heads on codes of the frozen encoder; "full" releases everything from there;
"scratch" trains encoder and heads together from random weights (the baseline).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from lib import (
    artefacts,
    batches,
    cnn,
    crossval,
    datasets,
    execution,
    heads,
    loading,
    plots,
    scoring,
    training,
)
from lib.cli import say
from lib.codes import Cache
from lib.config import Settings
from lib.crossval import Folds, Part
from lib.errors import UserError
from lib.execution import Machine
from lib.registry import BASELINES, DENOISERS, LANGUAGES, TASKS
from lib.windows import Windows, budget, pooled

MEASURE = "quadrants_balanced_accuracy"  # what is shown of a training beside the losses


@dataclass(frozen=True)
class Job:
    """What is transferred to what; `speech` is None for the baseline, `folder` of the music.

    In a cross-validation `data` is of the fold `part`, whose rows are those of `pool`.
    """

    model: str
    speech: str | None
    music: str
    settings: Settings
    folder: Path
    data: dict[str, Windows]
    machine: Machine
    overwrite: bool
    folds: Folds | None = None
    pool: Windows | None = None
    part: Part | None = None

    def whole(self, mode: str, iteration: int) -> Path:
        """The run directory of a step; in a cross-validation, that of all folds."""
        names = (self.speech, self.music, self.model, mode, iteration)
        folds = self.folds.name if self.folds else ""
        return artefacts.transfer_run(self.settings["paths"]["models"], *names, folds)

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
    folds: Folds | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Train and score a classifier, `settings["run"]["iterations"]` times.

    Parameters
    ----------
    model : name of the encoder, or of a baseline (then `speech` is ignored)
    speech : language of the pretraining: "e", "m" or "x"
    music : "e" or "m"
    release : True for "Full" (the frozen step is trained first where it is not finished), False
        for "Feat. Ext."
    folder : of the music data set
    folds : cross-validate instead of testing on the data set's test split
    overwrite : train again what is finished

    Returns the run directories.
    """
    baseline = model in BASELINES
    if baseline and release:
        raise UserError(f"{model} is trained from scratch in one step: use -rel n")
    if baseline:
        say(f"{model} is trained from scratch on music: -s {speech} is ignored")
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
    say(
        f"{LANGUAGES[music]} music: "
        + ", ".join(f"{len(w)} windows of {len(w.table)} clips ({n})" for n, w in data.items())
    )
    machine = Machine(settings["training"], Path(settings["paths"]["machine"]))
    job = Job(
        model, None if baseline else speech, music, settings, folder, data, machine, overwrite
    )
    iterations = range(settings["run"]["iterations"])
    one = _one
    if folds:
        job, one = replace(job, folds=folds, pool=pooled(list(data.values()))), _cross_validate
    return [list(one(job, iteration, release).values())[-1] for iteration in iterations]


def _one(job: Job, iteration: int, release: bool) -> dict[str, Path]:
    """All steps of one iteration (of one fold); the run directory of each."""
    if job.speech is None:
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
        sizes = ", ".join(f"{len(rows)} clips ({name})" for name, rows in part.rows.items())
        say(f"fold {part.number} of {job.folds.count}: {sizes}")
        found.append(_one(job.fold(part), iteration, release))
    runs = {mode: job.whole(mode, iteration) for mode in found[0]}
    for mode, run in runs.items():
        with artefacts.locked(run):
            folds = [one[mode] for one in found]
            crossval.summarise(run, folds, {"model": job.model, "iteration": iteration}, began)
    return runs


def _scratch(job: Job, iteration: int) -> Path:
    """The baseline: CNN and heads from random weights."""

    def build() -> keras.Model:
        features = job.settings["features"]
        encoder = cnn.build_encoder(
            n_mels=features["n_mels"], frames=features["window_frames"], **job.settings["network"]
        )
        return _classifier(encoder, job.settings)

    inputs = _inputs(job, iteration, "network", "heads", "transfer")
    return _step(job, "scratch", iteration, inputs, build, "transfer")


def _feat_ext(job: Job, iteration: int, wanted: bool) -> Path:
    """The frozen step; `wanted` is False when it only prepares the released one."""
    chosen = job.settings["transfer"]["encoder_iteration"]
    number = iteration if chosen < 0 else chosen
    script = "pretrain_denoise.py" if job.model in DENOISERS else "pretrain_cpc.py"
    runs = f" --iterations {number + 1}" if number else ""
    make = f"python3 {script} -s {job.speech} -mod {job.model}{runs}"
    models, features = Path(job.settings["paths"]["models"]), job.settings["features"]
    encoder, path = loading.load_encoder(models, job.speech, job.model, number, features, make)

    def build() -> keras.Model:
        return _classifier(encoder, job.settings)

    inputs = _inputs(job, iteration, "heads", "transfer")
    inputs["encoder"] = artefacts.file_hash(path)
    finished = artefacts.read_json(job.run("feat_ext", iteration) / "run.json")
    if finished and not wanted:  # --epochs then speaks of the released step alone
        epochs = finished.get("inputs", {}).get("transfer", {}).get("epochs")
        inputs["transfer"] = inputs["transfer"] | {"epochs": epochs}
    return _step(job, "feat_ext", iteration, inputs, build, "transfer", keep_same=not wanted)


def _full(job: Job, iteration: int, parent: Path) -> Path:
    """The released step, from the finished frozen run `parent`."""

    def build() -> keras.Model:
        return loading.load_model(
            parent / "model.keras", "train that step again (-rel n --overwrite)"
        )

    inputs = _inputs(job, iteration, "release")
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
    if mode == "feat_ext":
        chosen = job.settings["transfer"]["encoder_iteration"]
        number, models = iteration if chosen < 0 else chosen, job.settings["paths"]["models"]
        run = artefacts.speech_run(models, job.speech, job.model, number)
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
    outcome, history = _fit(job, trained, takes, run, section, seed, inputs, size)
    title = f"{job.whole(mode, iteration).parent.name}, {job.whole(mode, iteration).name}"
    title += f", fold {job.part.number}" if job.part else ""
    before = []
    if mode == "full":
        frozen = job.run("feat_ext", iteration) / "history.csv"
        before = pd.read_csv(frozen).to_dict("records") if frozen.is_file() else []
    with artefacts.whole_folder(run) as new:
        model.save(new / "model.keras")
        plots.curves(history, new / "curves.png", title, MEASURE, before)
        scored = execution.for_prediction(trained, job.settings["training"]["predict_dtype"])
        probabilities = _predict(scored, takes["test"], len(job.data["test"]), size)
        table = scoring.predictions(job.data["test"], probabilities, job.settings["features"])
        levels = scoring.write(table, new, title)
        chosen, parents = job.machine.chosen, _parents(job, mode, iteration)
        artefacts.write_run(new, inputs, outcome, history, chosen, began, parents)
    for level, tasks in levels.items():
        f1 = ", ".join(f"{task} {result['macro_f1']:.3f}" for task, result in tasks.items())
        say(f"test, macro F1 per {level}: {f1}")
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
) -> tuple[dict, list[dict]]:
    """Train what maps windows, or codes, to the tasks, in place; `takes` gives them by split."""
    settings = job.settings
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
    # the weights of the batches balance the classes, in the loss and here
    accuracy = partial(keras.metrics.SparseCategoricalAccuracy, name="balanced_accuracy")
    return training.fit(
        model,
        served["train"],
        served["val"],
        run,
        job.machine,
        loss=dict.fromkeys(TASKS, "sparse_categorical_crossentropy"),
        metrics={task: [accuracy()] for task in TASKS},
        measure=MEASURE,
        section=settings[section],
        training=settings["training"],
        fingerprint=json.dumps(inputs, sort_keys=True),
        advice=training.advice(section, settings),
        anew=job.overwrite,
    )


def _predict_windows(job: Job, model: keras.Model) -> int:
    """Windows per step of prediction."""

    def speed(size: int) -> float:
        some = job.data["train"].take(np.arange(size) % len(job.data["train"]))
        return execution.speed_of(lambda: model.predict_on_batch(some), size)

    return job.machine.predict_windows(job.model, sum(map(len, job.data.values())), speed)


def _coded(job: Job, encoder: keras.Model, sha256: str, size: int) -> dict[str, batches.Take]:
    """What gives the codes of the windows of each split; `sha256` of the encoder's file.

    In a cross-validation the codes are those of the pool, which all folds share.
    """
    if job.pool is None:
        return {n: _codes(job, w, n, encoder, sha256, size) for n, w in job.data.items()}
    codes = _codes(job, job.pool, "all clips", encoder, sha256, size)
    own = {name: job.pool.windows_of(rows) for name, rows in job.part.rows.items()}
    return {name: lambda chosen, own=own[name]: codes(own[chosen]) for name in own}


def _codes(
    job: Job, windows: Windows, name: str, encoder: keras.Model, sha256: str, size: int
) -> batches.Take:
    """What gives the codes of windows: computed once, as in predicting, without dropout and with
    fixed statistics. They are kept beside the data set, or else in memory; where they fit into
    neither, they are computed when asked for.

    name : of the windows, for messages; sha256 : of the encoder's file; size : windows per step
    """
    how = job.settings["training"]
    encoder = execution.for_prediction(encoder, how["predict_dtype"])
    cache = Cache(job.folder, how["codes_gb"] * 1e9)
    of = {
        "encoder": sha256,
        "windows": windows.sha256,
        "backend": keras.backend.backend(),
        "dtype": how["predict_dtype"],
    }
    shape = (len(windows), encoder.output_shape[-1])
    codes = cache.get(of)
    if codes is None:
        blocks = (np.asarray(block) for block in _blocks(encoder, windows, size))
        if cache.put(of, blocks, shape):
            codes = cache.get(of)
        elif 4 * shape[0] * shape[1] <= budget(how["memory_gb"]):
            codes = np.concatenate(list(blocks))
    if codes is None:
        say(f"codes of {name} are computed in every epoch: too many for memory and codes_gb")
        return lambda chosen: encoder.predict_on_batch(windows.take(chosen))
    return codes.__getitem__


def _blocks(encoder: keras.Model, windows: Windows, size: int) -> Iterator[np.ndarray]:
    """Codes of all windows, `size` at a time."""
    inputs = batches.Inputs(windows.take, len(windows), size)
    for number in range(len(inputs)):
        codes = encoder.predict_on_batch(inputs[number][0])
        yield codes[: len(windows) - number * inputs.size]


def _predict(model: keras.Model, take: batches.Take, items: int, size: int) -> dict:
    """Probabilities : {task: float32 (items, classes)}, `size` items at a time."""
    found = model.predict(batches.Inputs(take, items, size), verbose=0)
    return {task: values[:items] for task, values in found.items()}
