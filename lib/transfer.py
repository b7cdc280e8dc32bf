"""The transfer stage, for any encoder: encoder + music -> classifier, scored on the test clips.

"feat_ext" trains the heads on codes of the frozen encoder; "full" releases everything from there;
"scratch" trains encoder and heads together from random weights (the baseline).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from lib import artefacts, batches, cnn, datasets, evaluation, heads, plots, training
from lib.audio import window_seconds
from lib.cli import say
from lib.config import Settings
from lib.errors import UserError
from lib.registry import BASELINES, DENOISERS, LANGUAGES, TASKS
from lib.windows import Windows, budget


@dataclass(frozen=True)
class Job:
    """What is transferred to what; `speech` is None for the baseline."""

    model: str
    speech: str | None
    music: str
    settings: Settings
    data: dict[str, Windows]
    overwrite: bool

    def run(self, mode: str, iteration: int) -> Path:
        """The run directory of a step."""
        where = self.settings["paths"]["models"]
        return artefacts.transfer_run(where, self.speech, self.music, self.model, mode, iteration)


def transfer(
    model: str,
    speech: str,
    music: str,
    release: bool,
    settings: Settings,
    folder: Path,
    *,
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
    overwrite : train again what is finished

    Returns the run directories.
    """
    baseline = model in BASELINES
    if baseline and release:
        raise UserError(f"{model} is trained from scratch in one step: use -rel n")
    if baseline:
        say(f"{model} is trained from scratch on music: -s {speech} is ignored")
    make = f"python3 generate_dataset.py -d m -l {music}"
    data = datasets.read_folder(
        folder,
        ("train", "val", "test"),
        settings["features"],
        "music",
        LANGUAGES[music],
        make,
        budget(settings["training"]["memory_gb"]),
    )
    say(
        f"{LANGUAGES[music]} music: "
        + ", ".join(f"{len(w)} windows of {len(w.table)} clips ({n})" for n, w in data.items())
    )
    job = Job(model, None if baseline else speech, music, settings, data, overwrite)
    runs = []
    for iteration in range(settings["run"]["iterations"]):
        if baseline:
            runs.append(_scratch(job, iteration))
            continue
        runs.append(_feat_ext(job, iteration, wanted=not release))
        if release:
            runs[-1] = _full(job, iteration, runs[-1])
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
    parent = artefacts.speech_run(job.settings["paths"]["models"], job.speech, job.model, number)
    script = "pretrain_denoise.py" if job.model in DENOISERS else "pretrain_cpc.py"
    runs = f" --iterations {number + 1}" if number else ""
    make = f"python3 {script} -s {job.speech} -mod {job.model}{runs}"
    encoder = artefacts.load_encoder(parent, job.settings["features"], make)

    def build() -> keras.Model:
        return _classifier(encoder, job.settings)

    inputs = _inputs(job, iteration, "heads", "transfer")
    inputs["encoder"] = artefacts.file_hash(parent / "encoder.keras")
    finished = artefacts.read_json(job.run("feat_ext", iteration) / "run.json")
    if finished and not wanted:  # --epochs then speaks of the released step alone
        epochs = finished.get("inputs", {}).get("transfer", {}).get("epochs")
        inputs["transfer"] = inputs["transfer"] | {"epochs": epochs}
    return _step(job, "feat_ext", iteration, inputs, build, "transfer", keep_same=not wanted)


def _full(job: Job, iteration: int, parent: Path) -> Path:
    """The released step, from the finished frozen run `parent`."""

    def build() -> keras.Model:
        return artefacts.load_model(
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
    outcome, history = _fit(job, model, run, mode == "feat_ext", section, seed, inputs)
    title = f"{run.parent.name}, {run.name}"
    with artefacts.whole_folder(run) as new:
        model.save(new / "model.keras")
        plots.curves(history, new / "curves.png", title)
        levels = _evaluate(job, model, new, title)
        artefacts.write_run(new, inputs, outcome, history, began)
    f1 = ", ".join(f"{task} {levels['window'][task]['macro_f1']:.3f}" for task in TASKS)
    say(f"test, macro F1 per window: {f1} (chance and more in {run / 'report.txt'})")


def _fit(
    job: Job,
    model: keras.Model,
    run: Path,
    frozen: bool,
    section: str,
    seed: int,
    inputs: dict,
) -> tuple[dict, list[dict]]:
    """Train a classifier in place. With `frozen`, only the heads are trained, on codes that the
    encoder computes once: as in predicting, without dropout and with fixed statistics."""
    settings = job.settings
    trained, takes = model, {name: job.data[name].take for name in ("train", "val")}
    if frozen:
        encoder, trained = model.get_layer("encoder"), model.get_layer("heads")
        for name in takes:
            takes[name] = _codes(encoder, job.data[name], settings)
    labels = {name: job.data[name].labels() for name in takes}
    weights = batches.balanced_weights(
        labels["train"], {task: len(classes) for task, classes in TASKS.items()}
    )
    served = {
        name: batches.Labelled(
            takes[name],
            labels[name],
            weights,
            settings[section]["batch_windows"],
            seed,
            shuffle=name == "train",
            order=partial(job.data[name].shuffled, job.data[name].recording),
        )
        for name in takes
    }
    return training.fit(
        trained,
        served["train"],
        served["val"],
        run,
        loss=dict.fromkeys(TASKS, "sparse_categorical_crossentropy"),
        metrics={task: ["accuracy"] for task in TASKS},
        section=settings[section],
        training=settings["training"],
        fingerprint=json.dumps(inputs, sort_keys=True),
    )


def _codes(encoder: keras.Model, windows: Windows, settings: Settings) -> batches.Take:
    """What gives the codes of windows: all computed now, or, of frames on disk, when asked for."""
    if windows.on_disk:
        return lambda chosen: encoder.predict_on_batch(windows.take(chosen))
    return _predict(encoder, windows, settings).__getitem__


def _predict(model: keras.Model, windows: Windows, settings: Settings):
    size = settings["training"]["predict_windows"]
    inputs = batches.Inputs(windows.take, len(windows), size)
    return model.predict(inputs, verbose=0)


def _evaluate(job: Job, model: keras.Model, folder: Path, title: str) -> dict:
    """Score every window of the test clips once; write predictions, metrics, report, figure."""
    windows = job.data["test"]
    probabilities = _predict(model, windows, job.settings)
    true = windows.labels()
    levels = evaluation.evaluate(true, probabilities, windows.recording, TASKS)
    start = window_seconds(windows.local, job.settings["features"])
    columns = {
        "recording": windows.table["recording"].to_numpy()[windows.recording],
        "start_seconds": np.round(start, 3),
    }
    for task, classes in TASKS.items():
        columns[task] = np.array(classes)[true[task]]
        for k, name in enumerate(classes):
            columns[f"p_{task}_{name}"] = probabilities[task][:, k]
    pd.DataFrame(columns).to_csv(folder / "predictions.csv", index=False, float_format="%.6g")
    artefacts.write_json(folder / "metrics.json", levels)
    artefacts.write_text(folder / "report.txt", evaluation.report(levels, title))
    plots.confusions(levels, folder / "confusion.png", title)
    return levels
