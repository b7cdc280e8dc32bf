"""One run of a transfer: train or fit a classifier, test it, write its run directory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from lib.artefacts import files, run_record
from lib.console import say
from lib.datasets import splits
from lib.errors import UserError
from lib.figures import learning_curves
from lib.labels import MEASURE, TASKS
from lib.models import onnx_export
from lib.training import batches, fit, hardware
from lib.training.labelled_batches import Labelled, balanced_weights
from lib.transfer import clip_probe, teacher, test_scores
from lib.transfer.frozen_codes import FrozenEncoder
from lib.transfer.transfer_job import Job, Step
from lib.transfer.transfer_plan import TAUGHT

PROBE_WINDOWS = 256  # windows that the encoder of a probe takes at a time [ours]


def train(job: Job, step: Step) -> None:
    """Train and test a classifier, and write its run directory."""
    name, run = step.name, job.path(step.name)
    say(f"training {name.model}, {name.mode}, iteration {name.iteration} -> {run}")
    began = time.time()
    before = []
    if name.mode == "full":  # read first: a damaged file is reported before the training
        frozen = job.path(job.name("feat_ext", name.iteration))
        before = run_record.read_history(frozen, MEASURE).to_dict("records")
    keras.utils.set_random_seed(job.seeds(step.name.iteration).weights)
    model = step.build()
    trained, takes = model, {name: windows.take for name, windows in job.data.items()}
    if step.coded:
        trained = model.get_layer("heads")
        takes = {n: _standardised(model.get_layer("standardise"), t) for n, t in takes.items()}
    elif name.mode == "feat_ext":  # the heads alone, on codes that the encoder computes once
        trained = model.get_layer("heads")
        takes = _codes(
            job, model.get_layer("encoder"), step.inputs["encoder"], job.machine.predict_windows
        )
    outcome, history = _fit(job, step, trained, takes)
    with files.whole_folder(run, replaced=run_record.OPTIONAL) as new:
        model.save(new / "model.keras")
        inner = job.part is not None and job.part.inner
        if job.settings["run"]["onnx"] and not step.coded and not inner:
            _export(model, new, job.settings["features"], run)
        if job.settings["run"]["figures"]:
            learning_curves.curves(
                history, new / "curves.png", name.title, outcome["kept_epoch"], MEASURE, before
            )
        run_record.write_history(new, history)
        scored = hardware.for_prediction(trained, job.settings["training"]["predict_dtype"])
        probabilities = _predict(scored, takes["test"], len(job.data["test"]), job.machine)
        levels = _write(job, step, new, probabilities, outcome, began)
    _say_scores(run, levels)


def probe(job: Job, step: Step) -> None:
    """Fit and test a support vector machine per task, and write its run directory."""
    began, data = time.time(), job.data
    if step.coded:  # per recording
        statistics = {n: rows.take(np.arange(len(rows))) for n, rows in data.items()}
    elif step.build is None:
        statistics = {n: clip_probe.log_mel_statistics(windows) for n, windows in data.items()}
    else:
        takes = _codes(job, step.build(), step.inputs["encoder"], PROBE_WINDOWS)
        statistics = {n: clip_probe.code_statistics(data[n], take) for n, take in takes.items()}
    # nothing is validated: the machine learns from all clips with labels
    learnt = ("train", "val")
    features = {
        "train": np.concatenate([statistics[name] for name in learnt]),
        "test": statistics["test"],
    }
    table = pd.concat([data[name].table for name in learnt], ignore_index=True)
    by_clip = [data[name].labels_by_clip() for name in learnt]
    labels = {task: np.concatenate([clips[task] for clips in by_clip]) for task in TASKS}
    groups = splits.kept_together(table, "group", table["recording"]).to_numpy()
    sizes = {task: len(classes) for task, classes in TASKS.items()}
    predicted, penalties = clip_probe.fit_predict(features, labels, groups, sizes)
    by_window = {task: values[data["test"].recording] for task, values in predicted.items()}
    run = job.path(step.name)
    with files.whole_folder(run, replaced=run_record.OPTIONAL) as new:
        levels = _write(job, step, new, by_window, {"C": penalties}, began)
    _say_scores(run, {"clip": levels["clip"]})


def _export(model: keras.Model, folder: Path, features: Mapping, run: Path) -> None:
    """Write model.onnx; if that fails, only print a message: the run is complete without it."""
    path = folder / run_record.EXPORTED
    try:
        onnx_export.export(model, path, features, files.file_hash(folder / "model.keras"))
    except UserError as error:
        say(
            f"{error}; the run continues without it. With KERAS_BACKEND=tensorflow:\n"
            f"  python3 predict.py --export {run} {run / path.name}"
        )


def _write(
    job: Job, step: Step, folder: Path, probabilities: Mapping, outcome: Mapping, began: float
) -> dict:
    """Write the results of the test, and run.json; returns the measures by level."""
    table = test_scores.predictions(job.data["test"], probabilities, job.settings["features"])
    figures = job.settings["run"]["figures"] and job.part is None
    levels = test_scores.write(table, folder, step.name.title, figures)
    run_record.write_run(
        folder,
        step.inputs,
        {
            **outcome,
            **({"recipe": str(job.recipe)} if job.recipe else {}),
            **({"synthetic": True} if job.synthetic else {}),
        },
        execution=job.machine.execution,
        began=began,
        parents=step.parents,
    )
    return levels


def _say_scores(run: Path, levels: Mapping) -> None:
    for level, tasks in levels.items():
        f1 = [f"{task} {measures['macro_f1']:.3f}" for task, measures in tasks.items()]
        say(f"test, macro F1 per {level}: {', '.join(f1)}")
    say(f"more in {run / 'report.txt'}")


def _fit(
    job: Job, step: Step, model: keras.Model, takes: dict[str, batches.Take]
) -> tuple[dict, list[dict]]:
    """Train `model` on windows or codes, in place; `takes` gives them by split."""
    settings, released = job.settings, step.name.mode == "full"
    section = "release" if released else "transfer"
    train, val = _batches(job, step, takes, settings[section]["batch_windows"])
    loss = dict.fromkeys(TASKS, "categorical_crossentropy")
    if job.plan.teacher and step.name.mode in TAUGHT:
        model = _with_teacher(job, model, train, val)
        loss[teacher.NAME] = "mse"
    # the weights of the batches balance the classes, in the loss and here
    accuracy = partial(keras.metrics.CategoricalAccuracy, name="balanced_accuracy")
    plan = fit.TrainingPlan(
        settings,
        step=section,
        inputs=step.inputs,
        loss=loss,
        metrics={task: [accuracy()] for task in TASKS},
        measure=MEASURE,
        anew=job.overwrite,
        slow=model.get_layer("encoder").trainable_variables if released else (),
    )
    return fit.fit(model, train, val, plan, run=job.path(step.name), machine=job.machine)


def _with_teacher(job: Job, model: keras.Model, train: Labelled, val: Labelled) -> keras.Model:
    """The model with an output for the teacher; the batches get targets for it."""
    section = job.settings["teacher"]
    data = {name: job.data[name] for name in ("train", "val")}
    codes, features = job.plan.teacher, job.settings["features"]
    given = teacher.targets(codes, data, features, section["dimensions"])
    for name, batch in (("train", train), ("val", val)):
        batch.add_targets(teacher.NAME, given[name], section["weight"])
    return teacher.student(model, given["train"].shape[1])


def _batches(
    job: Job, step: Step, takes: dict[str, batches.Take], size: int
) -> tuple[Labelled, Labelled]:
    """Batches to train with, of `size` windows, and to validate with."""
    data, seeds = job.data, job.seeds(step.name.iteration)
    classes = {task: len(names) for task, names in TASKS.items()}
    weights = balanced_weights(data["train"].labels(), classes)
    train = Labelled(data["train"], takes["train"], weights, size=size, seeds=seeds, shuffle=True)
    train.augment(job.settings["augment"])
    size = job.machine.predict_windows
    return train, Labelled(data["val"], takes["val"], weights, size=size, seeds=seeds)


def _codes(job: Job, encoder: keras.Model, identity: str, size: int) -> dict[str, batches.Take]:
    """Functions that give the codes of each split's windows, computed `size` windows at a time.

    In a cross-validation, the codes of the whole pool are computed for the first fold and kept for
    the others, as long as the encoder and its number format are the same.
    """
    frozen = FrozenEncoder(encoder, identity, job.folder, job.settings["training"], size)
    if job.pool is None:
        return {name: frozen.codes(windows, name) for name, windows in job.data.items()}
    key = identity, job.settings["training"]["predict_dtype"]
    if key not in job.codes:
        job.codes.clear()  # first: two encoders' codes may not fit into memory
        job.codes[key] = frozen.codes(job.pool, "all clips")
    codes = job.codes[key]
    rows = {name: job.pool.windows_of(clips) for name, clips in job.part.rows.items()}
    return {name: lambda batch, rows=rows[name]: codes(rows[batch]) for name in rows}


def _standardised(layer: keras.layers.Layer, codes: batches.Take) -> batches.Take:
    """A function that gives standardised codes, the input of the heads."""
    return lambda batch: keras.ops.convert_to_numpy(layer(codes(batch)))


def _predict(
    model: keras.Model, take: batches.Take, items: int, machine: hardware.Machine
) -> dict[str, np.ndarray]:
    """Probabilities : {task: float32 (items, classes)}."""
    inputs = batches.Inputs(take, items, machine.predict_windows)
    outputs = model.predict(inputs, verbose=0)
    return {task: values[:items] for task, values in outputs.items()}
