"""One run of a transfer: trained or fitted, tested, written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from lib.artefacts import files, run_record
from lib.console import say
from lib.datasets import splits
from lib.figures import learning_curves
from lib.labels import MEASURE, TASKS
from lib.training import augmentation, batches, fit, hardware, labelled_batches, seeds
from lib.transfer import clip_probe, frozen_codes, test_scores
from lib.transfer.transfer_job import Job


def train(
    job: Job,
    run: Path,
    mode: str,
    iteration: int,
    inputs: dict,
    build: Callable[[], keras.Model],
    section: str,
    parents: Mapping,
) -> None:
    """Train and test a classifier, and write its run directory.

    mode : of the step; inputs, parents : for run.json; build : makes the network; section : of the
    settings, with learning rate and epochs
    """
    say(f"training {job.model}, {mode}, iteration {iteration} -> {run}")
    began = time.time()
    before = []
    if mode == "full":  # read first: what is damaged is told before a training, not after it
        before = run_record.read_history(job.run("feat_ext", iteration), MEASURE).to_dict("records")
    seed = seeds.run_seed(job.settings["run"]["seed"], iteration)
    keras.utils.set_random_seed(seed)
    model = build()
    size = job.machine.predict_windows
    trained, takes = model, {name: windows.take for name, windows in job.data.items()}
    if mode == "feat_ext":  # the heads alone, on codes that the encoder computes once
        trained = model.get_layer("heads")
        takes = _coded(job, model.get_layer("encoder"), inputs["encoder"], size)
    slow = model.get_layer("encoder").trainable_variables if mode == "full" else ()
    outcome, history = _fit(job, trained, takes, run, section, seed, inputs, size, slow)
    title = job.title(mode, iteration)
    with files.whole_folder(run) as new:
        model.save(new / "model.keras")
        learning_curves.curves(
            history, new / "curves.png", title, outcome["kept_epoch"], MEASURE, before
        )
        scored = hardware.for_prediction(trained, job.settings["training"]["predict_dtype"])
        probabilities = _predict(scored, takes["test"], len(job.data["test"]), size)
        table = test_scores.predictions(job.data["test"], probabilities, job.settings["features"])
        levels = test_scores.write(table, new, title, job.part is None)
        chosen = job.machine.chosen
        run_record.write_run(new, inputs, outcome, history, chosen, began, parents)
    for level, tasks in levels.items():
        say(f"test, macro F1 per {level}: {_shown(tasks)}")
    say(f"more in {run / 'report.txt'}")


def probe(
    job: Job,
    run: Path,
    iteration: int,
    inputs: dict,
    encoder: keras.Model | None,
    parents: Mapping,
) -> None:
    """Fit and test a support vector machine per task, and write its run directory.

    encoder : whose codes it is given; None: log-mel statistics
    """
    began, data = time.time(), job.data
    if encoder is None:
        each = {name: clip_probe.log_mel_statistics(windows) for name, windows in data.items()}
    else:
        takes = _coded(job, encoder, inputs["encoder"], 256)
        each = {name: clip_probe.code_statistics(data[name], take) for name, take in takes.items()}
    # there is nothing to validate: all clips with labels are learnt from
    features = {"train": np.concatenate([each["train"], each["val"]]), "test": each["test"]}
    table = pd.concat([data["train"].table, data["val"].table], ignore_index=True)
    labels = {
        task: np.concatenate([data[name].labels_by_clip()[task] for name in ("train", "val")])
        for task in TASKS
    }
    groups = splits.kept_together(table, "group", table["recording"]).to_numpy()
    sizes = {task: len(classes) for task, classes in TASKS.items()}
    found, chosen = clip_probe.fit_predict(features, labels, groups, sizes)
    test = data["test"]
    each = {task: values[test.recording] for task, values in found.items()}
    table = test_scores.predictions(test, each, job.settings["features"])
    with files.whole_folder(run) as new:
        levels = test_scores.write(table, new, job.title("probe", iteration), job.part is None)
        run_record.write_run(new, inputs, {"C": chosen}, None, job.machine.chosen, began, parents)
    say(f"test, macro F1 per clip: {_shown(levels['clip'])}", f"more in {run / 'report.txt'}")


def _shown(tasks: Mapping) -> str:
    return ", ".join(f"{task} {result['macro_f1']:.3f}" for task, result in tasks.items())


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
    weights = labelled_batches.balanced_weights(
        labels["train"], {task: len(classes) for task, classes in TASKS.items()}
    )
    sizes = {"train": settings[section]["batch_windows"], "val": predict_windows}
    served = {}
    for name in labels:
        order = partial(job.data[name].shuffled, job.data[name].recording)
        each = (takes[name], labels[name], weights, sizes[name])
        served[name] = labelled_batches.Labelled(*each, seed, name == "train", order)
    served["train"].change = augmentation.changes(settings["augment"], model.input_shape)
    if 0 < number < len(own):
        served["train"].draw(number, partial(own.some, number))
    # the weights of the batches balance the classes, in the loss and here
    accuracy = partial(keras.metrics.CategoricalAccuracy, name="balanced_accuracy")
    return fit.fit(
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
        advice=fit.advice(section, settings),
        anew=job.overwrite,
        slow=slow,
    )


def _coded(job: Job, encoder: keras.Model, identity: str, size: int) -> dict[str, batches.Take]:
    """What gives the codes of the windows of each split; `identity` of the encoder.

    In a cross-validation the codes are those of the pool, computed for the first fold and kept for
    the others, as long as the encoder is the same.
    """
    how = (encoder, identity, job.folder, job.settings["training"], size)
    if job.pool is None:
        return {name: frozen_codes.codes(w, name, *how) for name, w in job.data.items()}
    if identity not in job.codes:
        job.codes.clear()  # first: two encoders' codes may not fit into memory
        job.codes[identity] = frozen_codes.codes(job.pool, "all clips", *how)
    codes = job.codes[identity]
    own = {name: job.pool.windows_of(rows) for name, rows in job.part.rows.items()}
    return {name: lambda chosen, own=own[name]: codes(own[chosen]) for name in own}


def _predict(model: keras.Model, take: batches.Take, items: int, size: int) -> dict:
    """Probabilities : {task: float32 (items, classes)}, `size` items at a time."""
    found = model.predict(batches.Inputs(take, items, size), verbose=0)
    return {task: values[:items] for task, values in found.items()}
