"""The pretraining stage: features of speech, or of music without its labels -> encoder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np

from lib import configuration
from lib.artefacts import files, run_name, run_record
from lib.configuration import Settings
from lib.console import say
from lib.datasets import dataset_file
from lib.datasets import folds as datasets_folds
from lib.datasets.folds import Folds
from lib.datasets.windows import Windows, budget, pooled
from lib.errors import UserError
from lib.figures import learning_curves, reconstructions
from lib.labels import LANGUAGES
from lib.models import cpc, cpc_infonce, framewise_encoder, masked_denoiser, scae
from lib.models.catalogue import SECTIONS
from lib.training import contrastive_batches, denoising_batches, fit, seeds
from lib.training.hardware import Machine


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
    model : one of RECIPES
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
    recipe = RECIPES[model_name]
    inputs = {
        "model": model_name,
        "seed": settings["run"]["seed"],
        "iteration": iteration,
        "dataset": {"train": train.identity, "val": val.identity},
        **{n: settings[n] for n in ("features", *SECTIONS[model_name], "network", "pretrain")},
        "training": run_record.decisive(settings["training"]),
    }
    if run_record.finished(run, inputs, overwrite):
        say(f"{run} is finished already")
        return
    say(f"training {model_name}, iteration {iteration} -> {run}")
    began = time.time()
    keras.utils.set_random_seed(seed)
    model, encoder, train_batches, val_batches = recipe.build(settings, train, val, seed)
    measure = recipe.measure().name if recipe.measure else None
    outcome, history = fit.fit(
        model,
        train_batches,
        val_batches,
        run,
        machine,
        loss=recipe.loss,
        metrics=[recipe.measure()] if recipe.measure else None,
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
        if recipe.draw:
            recipe.draw(model, val_batches, new, title)
        run_record.write_run(new, inputs, outcome, history, machine.chosen, began)
    say(f"finished: {run}")


def _sizes(settings: Settings) -> Mapping:
    return {
        "n_mels": settings["features"]["n_mels"],
        "frames": settings["features"]["window_frames"],
        **settings["network"],
    }


def _denoising(settings: Settings, train: Windows, val: Windows, seed: int):
    section, size = settings["scae"], settings["pretrain"]["batch_windows"]
    start = {}
    if section["output_from_data"]:
        start = dict(zip(("output_mean", "output_scale"), train.mean_and_deviation(), strict=True))
    model, encoder = scae.build(**_sizes(settings), **start)
    pairs = [
        denoising_batches.DenoisingPairs(part, section["noise"], size, seed, shuffle=part is train)
        for part in (train, val)
    ]
    return model, encoder, *pairs


def _predictive(settings: Settings, train: Windows, val: Windows, seed: int):
    section = settings["cpc"]
    widths = {key: section[key] for key in ("past", "future", "code", "context")}
    model, encoder = cpc.build(**_sizes(settings), **widths)
    size = max(1, settings["pretrain"]["batch_windows"] // (section["past"] + section["future"]))
    sequences = [
        contrastive_batches.Sequences(
            part,
            section["past"],
            section["future"],
            size,
            seed,
            shuffle=part is train,
            negatives=section["negatives"],
        )
        for part in (train, val)
    ]
    for name, served in zip(("training", "validation"), sequences, strict=True):
        if not served.items:
            raise UserError(
                f"no recording of the {name} data has {section['past'] + section['future']} windows"
                " for a sequence of cpc.past + cpc.future: lower them, or bring longer recordings"
            )
    return model, encoder, *sequences


def _contrastive(settings: Settings, train: Windows, val: Windows, seed: int):
    section, network = settings["nce"], settings["network"]
    length = -(-section["stretch"] // framewise_encoder.STRIDE)
    if section["steps"] >= length:
        raise UserError(
            f"nce.steps is {section['steps']}, and a stretch of {section['stretch']} frames has "
            f"{length} latents: predict less far, or make nce.stretch longer"
        )
    sizes = {key: _sizes(settings)[key] for key in ("n_mels", "frames")}
    model, encoder = cpc_infonce.build(
        **sizes, **section, **settings["framewise"], dropout=network["dropout"]
    )
    windows = settings["pretrain"]["batch_windows"] * settings["features"]["window_frames"]
    stretches = [
        contrastive_batches.Stretches(
            *(part, section["stretch"], framewise_encoder.STRIDE, section["steps"]),
            max(2, windows // section["stretch"]),
            seed,
            shuffle=part is train,
        )
        for part in (train, val)
    ]
    for name, served in zip(("training", "validation"), stretches, strict=True):
        if served.items < 2:
            raise UserError(
                f"{served.items} stretches of nce.stretch={section['stretch']} frames in the "
                f"{name} data, 2 are needed: make it shorter, or bring longer recordings"
            )
    return model, encoder, *stretches


def _masked(settings: Settings, train: Windows, val: Windows, seed: int):
    section, size = settings["mask"], settings["pretrain"]["batch_windows"]
    sizes = {key: _sizes(settings)[key] for key in ("n_mels", "frames", "dropout")}
    model, encoder = masked_denoiser.build(**sizes, **settings["framewise"])
    patch = (section["mel"], section["frames"])
    pairs = [
        denoising_batches.MaskedPairs(
            *(part, section["noise"], patch, section["share"], size, seed), shuffle=part is train
        )
        for part in (train, val)
    ]
    return model, encoder, *pairs


def _draw_reconstructions(
    given: str,
    back: str,
    model: keras.Model,
    pairs: denoising_batches.DenoisingPairs,
    run: Path,
    title: str,
) -> None:
    """given, back : how the figure calls what the network gets and what it gives back"""
    chosen = np.linspace(0, pairs.items - 1, min(6, pairs.items)).astype(int)
    x, clean, _ = pairs.load(chosen, np.ones(len(chosen)), np.random.default_rng(pairs.seed))
    rows = {"clean": clean, given: x, back: model.predict(x, verbose=0)}
    reconstructions.reconstructions(rows, run / "reconstructions.png", title)


@dataclass(frozen=True)
class Recipe:
    """How a kind of encoder is pretrained.

    build : (settings, train, val, seed) -> model, encoder, batches to train and to validate
    loss : as for keras.Model.compile
    measure : makes a metric that is shown beside it
    draw : (model, validation batches, folder, title), a figure of its own
    """

    build: Callable
    loss: object
    measure: Callable[[], keras.metrics.Metric] | None = None
    draw: Callable | None = None


RECIPES = {
    "model_over": Recipe(
        _denoising, "mse", draw=partial(_draw_reconstructions, "noisy", "denoised")
    ),
    "model_over_mask": Recipe(
        _masked, "mse", draw=partial(_draw_reconstructions, "hidden in part", "restored")
    ),
    "model_cpc_nce": Recipe(
        _contrastive,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        # share of the predictions whose true latent has the highest score
        partial(keras.metrics.SparseCategoricalAccuracy, name="told_apart"),
    ),
    "model_cpc": Recipe(
        _predictive,
        "binary_crossentropy",
        # share of the pairs of past and future told apart from false ones
        partial(keras.metrics.BinaryAccuracy, name="told_apart"),
    ),
}
