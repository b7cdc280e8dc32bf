"""Training with resume. Knows nothing of which model it trains."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path

import keras

from lib.console import say
from lib.errors import UserError
from lib.training.batches import Batches
from lib.training.checkpoints import Checkpoints
from lib.training.hardware import Machine
from lib.training.optimizer import optimizer
from lib.training.progress import Course
from lib.training.tensorflow_feeding import feed


def fit(
    model: keras.Model,
    train: Batches,
    valid: Batches,
    run: Path,
    machine: Machine,
    *,
    loss: object,
    metrics: object = None,
    measure: str | None = None,
    section: Mapping,
    training: Mapping,
    fingerprint: str,
    advice: str = "try a lower learning rate",
    anew: bool = False,
    slow: Iterable = (),
) -> tuple[dict, list[dict]]:
    """Train, and leave the best weights in `model` (the last, as `section` says).

    Parameters
    ----------
    train, valid : batches; those of training are told their epoch
    run : run directory, where an unfinished training keeps its saved states
    machine : how to compute
    loss : as for keras.Model.compile
    metrics : as `weighted_metrics` there: the weights of the batches say what counts
    measure : the metric that is shown, by its name in the history
    section : epochs, learning_rate, decay, schedule, keep
    training : section `training` of the settings
    fingerprint : identifies settings and data for resuming
    advice : what to try when the loss is not finite
    anew : do not refuse a saved state of other settings, but begin anew
    slow : variables whose rate is multiplied by section["encoder_rate"]

    Returns the outcome {"epoch", "best_epoch", "best_loss", "stopped", "kept_epoch"} and the
    history, a row per epoch. Raises UserError when the loss stops being finite, KeyboardInterrupt,
    with what is saved, when it is interrupted.
    """
    # a twin over the same layers is compiled: `model` stays without optimiser and loss, so that
    # it can be saved, alone or inside another, and loaded without this project's code
    twin = keras.Model(model.input, model.output, name=model.name)

    steps = len(train) * section["epochs"]
    factors = {id(variable): section["encoder_rate"] for variable in slow}

    # never left to chance: Keras's "auto" turns XLA on, four times slower on CPUs
    twin.compile(
        optimizer(section, training, steps, factors),
        loss,
        weighted_metrics=metrics,
        jit_compile=machine.xla,
    )
    _build(twin, train)
    say(machine.told())
    checkpoints = Checkpoints(run)
    course = Course(
        train,
        valid,
        checkpoints,
        training=training,
        section=section,
        fingerprint=fingerprint,
        measure=measure,
        advice=advice,
    )
    course.set_model(twin)
    callbacks = [course]
    if training["tensorboard"]:
        callbacks.append(_tensorboard(run))
    done = course.resume(anew)
    fed, fed_valid = feed(twin, train, valid)
    if done < section["epochs"] and not course.state["stopped"]:
        try:
            twin.fit(
                fed,
                validation_data=fed_valid,
                epochs=section["epochs"],
                initial_epoch=done,
                callbacks=callbacks,
                shuffle=False,  # the batches are shuffled already, by seed and epoch
                verbose=0,
            )
        except KeyboardInterrupt as stop:
            checkpoints.wait()
            saved = "no epoch was finished; the same line begins anew"
            if checkpoints.saved:
                saved = f"epoch {checkpoints.saved} of at most {section['epochs']} is saved in "
                saved += f"{checkpoints.folder}; the same line goes on from there"
            raise type(stop)(saved) from stop
        finally:
            checkpoints.wait()
    if section["keep"] == "best":
        model.set_weights(course.best)
    names = ("epoch", "best_epoch", "best_loss", "stopped")
    outcome = {name: course.state[name] for name in names}
    outcome["kept_epoch"] = outcome["best_epoch" if section["keep"] == "best" else "epoch"]
    say(
        "epoch {kept_epoch} is kept; lowest val_loss {best_loss:.4f}, epoch {best_epoch}".format(
            **outcome
        )
    )
    return outcome, course.state["history"]


def advice(section: str, settings: Mapping) -> str:
    """What to try when the loss is not finite; `section` of the settings names the step."""
    rate = settings[section]["learning_rate"]
    return f"try a lower learning rate (--set {section}.learning_rate={rate / 10:g} --overwrite)"


def _tensorboard(run: Path) -> keras.callbacks.Callback:
    for package in ("tensorboard", "tensorflow"):
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"--tensorboard needs {package}: pip install -r requirements/tensorboard.txt"
            )
    return keras.callbacks.TensorBoard(run / "tensorboard", write_graph=False)


def _build(model: keras.Model, train: Batches) -> None:
    """Create the variables of optimiser, loss and metrics now: a compiled step that creates them
    on its first call is traced twice, which costs seconds in every short run."""
    x, y, weights = (keras.tree.map_structure(lambda a: a[:1], part) for part in train[0])
    predicted = model(x, training=False)
    model.optimizer.build(model.trainable_variables)
    model.compute_loss(x, y, predicted, weights)
    model.compute_metrics(x, y, predicted, weights)
    model.reset_metrics()
