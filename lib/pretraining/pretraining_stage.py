"""The pretraining stage: features of speech, or of music without labels -> encoder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras

from lib import configuration
from lib.artefacts import files, run_record
from lib.artefacts.run_name import RunName
from lib.configuration import Settings
from lib.console import say
from lib.datasets import dataset_file
from lib.datasets import folds as datasets_folds
from lib.datasets.folds import Folds
from lib.datasets.windows import Windows, memory_limit, pooled
from lib.figures import learning_curves
from lib.labels import LANGUAGES
from lib.models import catalogue
from lib.pretraining import contrastive, denoising, predictive
from lib.seeds import Seeds
from lib.training import fit
from lib.training.hardware import Machine

OBJECTIVES = {  # named as in lib.models.catalogue
    "denoising": denoising.DENOISING,
    "masked": denoising.MASKED,
    "predictive": predictive.PREDICTIVE,
    "contrastive": contrastive.CONTRASTIVE,
}


@dataclass(frozen=True)
class Part:
    """The recordings that an encoder learns from; `fold` as in RunName."""

    fold: int | None
    train: Windows
    val: Windows


def pretrain(
    model: str,
    source: tuple[str, str],
    settings: Settings,
    folder: Path,
    *,
    folds: Folds | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Pretrain one encoder, once per iteration of `settings["run"]`.

    Parameters
    ----------
    model : name of an encoder that is pretrained
    source : ("speech", "e", "m" or "x"), or ("music", "e" or "m"), whose labels are not used
    folder : of the data set
    folds : pretrain once per fold, on the recordings that the cross-validation of the transfer does
        not test in that fold
    overwrite : train finished runs again

    Returns the run directories; for a cross-validation, those of the folds.
    """
    kind, language = source
    parts = list(_parts(source, settings, folder, folds))
    machine, runs = Machine(settings["training"]), []
    for iteration in configuration.iterations(settings):
        for part in parts:
            fold = f", fold_{part.fold}" if part.fold else ""
            disk = ", read from disk as they are needed" if part.train.on_disk else ""
            say(
                f"{LANGUAGES[language]} {kind}{fold}: {len(part.train)} windows to train, "
                f"{len(part.val)} to validate{disk}"
            )
            name = RunName(
                model=model,
                mode="pretrain",
                **{kind: language},
                iteration=iteration,
                folds=folds.name if folds else "",
                fold=part.fold,
            )
            run = name.path(settings["paths"]["models"])
            with files.locked(run):
                _pretrain_once(name, run, settings, part, machine, overwrite)
            runs.append(run)
    return runs


def _parts(
    source: tuple[str, str], settings: Settings, folder: Path, folds: Folds | None
) -> Iterator[Part]:
    """The recordings to train and validate with, of each fold."""
    kind, language = source
    memory = memory_limit(settings["training"]["memory_gb"])
    data = dataset_file.read_folder(
        folder,
        ("train", "val", "test") if folds else ("train", "val"),
        settings["features"],
        kind,
        LANGUAGES[language],
        memory / 3 if folds else memory,
    )
    if not folds:
        yield Part(None, data["train"], data["val"])
        return
    pool, seed = pooled(list(data.values())), Seeds(settings["run"]["seed"]).split
    for part in datasets_folds.divide(pool, folds, folder, settings["dataset"]["val"], seed):
        yield Part(part.number, *(pool.subset(part.rows[name]) for name in ("train", "val")))


def _pretrain_once(
    name: RunName, run: Path, settings: Settings, part: Part, machine: Machine, overwrite: bool
) -> None:
    spec = catalogue.spec(name.model)
    inputs = {
        "model": name.model,
        "seed": settings["run"]["seed"],
        "iteration": name.iteration,
        "dataset": {"train": part.train.identity, "val": part.val.identity},
        **{n: settings[n] for n in ("features", *spec.sections, "network", "pretrain")},
        "training": run_record.deciding_settings(settings["training"]),
    }
    if run_record.finished(run, inputs, overwrite):
        say(f"{run} is finished already")
        return
    say(f"training {name.model}, iteration {name.iteration} -> {run}")
    began = time.time()
    seeds = Seeds(settings["run"]["seed"], name.iteration)
    keras.utils.set_random_seed(seeds.weights)
    objective = OBJECTIVES[spec.objective]
    train_batches, val_batches = (
        objective.batches(settings, windows, seeds=seeds, shuffle=shuffle)
        for windows, shuffle in ((part.train, True), (part.val, False))
    )
    model, encoder = spec.pretraining(settings, part.train.mean_and_deviation)
    metric = objective.measure() if objective.measure else None
    measure = metric.name if metric else None
    plan = fit.TrainingPlan(
        settings,
        step="pretrain",
        inputs=inputs,
        loss=objective.loss,
        metrics=[metric] if metric else None,
        measure=measure,
        anew=overwrite,
    )
    outcome, history = fit.fit(model, train_batches, val_batches, plan, run=run, machine=machine)
    with files.whole_folder(run, replaced=run_record.OPTIONAL) as new:
        model.save(new / "model.keras")
        encoder.save(new / "encoder.keras")
        if settings["run"]["figures"]:
            learning_curves.curves(
                history, new / "curves.png", name.title, outcome["kept_epoch"], measure
            )
            if objective.draw:
                objective.draw(model, val_batches, new, name.title)
        run_record.write_history(new, history)
        run_record.write_run(new, inputs, outcome, execution=machine.execution, began=began)
    say(f"finished: {run}")
