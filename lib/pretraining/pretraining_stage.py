"""The pretraining stage: features of speech, or of music without its labels -> encoder."""

from __future__ import annotations

import json
import time
from pathlib import Path

import keras

from lib import configuration
from lib.artefacts import files, run_name, run_record
from lib.configuration import Settings
from lib.console import say
from lib.datasets import dataset_file
from lib.datasets import folds as datasets_folds
from lib.datasets.folds import Folds
from lib.datasets.windows import Windows, budget, pooled
from lib.figures import learning_curves
from lib.labels import LANGUAGES
from lib.models import catalogue
from lib.pretraining import contrastive, denoising, predictive
from lib.training import fit, seeds
from lib.training.hardware import Machine

OBJECTIVES = {  # as lib.models.catalogue calls them
    "denoising": denoising.DENOISING,
    "masked": denoising.MASKED,
    "predictive": predictive.PREDICTIVE,
    "contrastive": contrastive.CONTRASTIVE,
}


def pretrain(
    model: str,
    language: str,
    settings: Settings,
    folder: Path,
    *,
    kind: str = "speech",
    folds: Folds | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Pretrain one encoder, once per iteration that `settings["run"]` asks for.

    Parameters
    ----------
    model : name of an encoder that is pretrained
    language : "e", "m" or "x"
    settings : of the run
    folder : of the data set
    kind : of it, "speech" or "music", whose labels are not used
    folds : pretrain once per fold, on the recordings that a cross-validation of the transfer does
        not test in it
    overwrite : train again what is finished

    Returns the run directories, of a cross-validation those of the folds.
    """
    make = f"python3 generate_dataset.py -d {kind[0]} -l {language}"
    memory = budget(settings["training"]["memory_gb"])
    data = dataset_file.read_folder(
        folder,
        ("train", "val", "test") if folds else ("train", "val"),
        settings["features"],
        kind,
        LANGUAGES[language],
        make,
        memory / 3 if folds else memory,
    )
    parts = {"": (data["train"], data["val"])}
    if folds:
        pool, seed = pooled(list(data.values())), settings["run"]["seed"]
        parts = {
            f"fold_{part.number}": tuple(pool.subset(part.rows[n]) for n in ("train", "val"))
            for part in datasets_folds.divide(pool, folds, folder, settings["dataset"]["val"], seed)
        }
    machine = Machine(settings["training"])
    runs = []
    for iteration in configuration.iterations(settings):
        names = (language, model, iteration, kind, folds.name if folds else "")
        for fold, (train, val) in parts.items():
            say(
                f"{LANGUAGES[language]} {kind}{', ' + fold if fold else ''}: {len(train)} windows "
                f"to train, {len(val)} to validate"
                f"{', read from disk as they are needed' if train.on_disk else ''}"
            )
            run = run_name.pretraining_run(settings["paths"]["models"], *names) / fold
            with files.locked(run):
                _pretrain_once(model, run, iteration, settings, train, val, overwrite, machine)
            runs.append(run)
    return runs


def _pretrain_once(
    model_name: str,
    run: Path,
    iteration: int,
    settings: Settings,
    train: Windows,
    val: Windows,
    overwrite: bool,
    machine: Machine,
) -> None:
    seed = seeds.run_seed(settings["run"]["seed"], iteration)
    spec = catalogue.spec(model_name)
    objective = OBJECTIVES[spec.objective]
    inputs = {
        "model": model_name,
        "seed": settings["run"]["seed"],
        "iteration": iteration,
        "dataset": {"train": train.identity, "val": val.identity},
        **{n: settings[n] for n in ("features", *spec.sections, "network", "pretrain")},
        "training": run_record.decisive(settings["training"]),
    }
    if run_record.finished(run, inputs, overwrite):
        say(f"{run} is finished already")
        return
    say(f"training {model_name}, iteration {iteration} -> {run}")
    began = time.time()
    keras.utils.set_random_seed(seed)
    train_batches, val_batches = objective.batches(settings, train, val, seed)
    model, encoder = spec.pretraining(settings, train.mean_and_deviation)
    measure = objective.measure().name if objective.measure else None
    outcome, history = fit.fit(
        model,
        train_batches,
        val_batches,
        run,
        machine,
        loss=objective.loss,
        metrics=[objective.measure()] if objective.measure else None,
        measure=measure,
        section=settings["pretrain"],
        training=settings["training"],
        fingerprint=json.dumps(inputs, sort_keys=True),
        advice=fit.advice("pretrain", settings),
        anew=overwrite,
    )
    title = ", ".join(run.parts[run.parts.index("models") + 1 :])
    with files.whole_folder(run) as new:
        model.save(new / "model.keras")
        encoder.save(new / "encoder.keras")
        learning_curves.curves(history, new / "curves.png", title, outcome["kept_epoch"], measure)
        if objective.draw:
            objective.draw(model, val_batches, new, title)
        run_record.write_run(new, inputs, outcome, history, machine.chosen, began)
    say(f"finished: {run}")
