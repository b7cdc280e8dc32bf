"""Train any model, and resume a training that was interrupted."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import keras

from lib.console import say
from lib.errors import UserError
from lib.training.batches import Batches
from lib.training.checkpoints import Checkpoints
from lib.training.hardware import Machine
from lib.training.optimizer import optimizer
from lib.training.progress import DUTIES, Course, SavedStates, State, TrainingPlan
from lib.training.tensorflow_feeding import feed


def fit(
    model: keras.Model,
    train: Batches,
    valid: Batches,
    plan: TrainingPlan,
    *,
    run: Path,
    machine: Machine,
) -> tuple[dict, list[dict]]:
    """Train `model`, which then has the weights that the plan keeps.

    run : run directory, where an unfinished training keeps its saved states

    Returns the outcome {"epoch", "best_epoch", "best_loss", "stopped", "kept_epoch"} and the
    history, a row per epoch. Raises UserError when the loss stops being finite, and
    KeyboardInterrupt, which says what is saved, when it is interrupted.
    """
    # a twin over the same layers is compiled: `model` stays without optimiser and loss, so that
    # it can be saved, alone or inside another, and loaded without this project's code
    twin = keras.Model(model.input, model.output, name=model.name)
    _compile(twin, train, plan, machine)
    say(machine.description())
    state = State(json.dumps(plan.inputs, sort_keys=True))
    course = Course(plan, train=train, valid=valid, checkpoints=Checkpoints(run), state=state)
    saved_states = SavedStates(course)
    saved_states.set_model(twin)
    saved_states.resume()
    callbacks = [*(duty(course) for duty in DUTIES), saved_states]
    if plan.training["tensorboard"]:
        callbacks.append(_tensorboard(run))
    if course.state.epoch < plan.section["epochs"] and not course.state.stopped:
        _train(twin, course, callbacks)
    state, best = course.state, plan.section["keep"] == "best"
    if best:
        model.set_weights(course.best)
    kept = state.best_epoch if best else state.epoch
    say(f"epoch {kept} is kept; lowest val_loss {state.best_loss:.4f}, epoch {state.best_epoch}")
    names = ("epoch", "best_epoch", "best_loss", "stopped")
    outcome = {name: getattr(state, name) for name in names} | {"kept_epoch": kept}
    return outcome, state.history


def _compile(model: keras.Model, train: Batches, plan: TrainingPlan, machine: Machine) -> None:
    """Compile, and create the variables of optimiser, loss and metrics now: a step that creates
    them on its first call is traced twice, which costs seconds in every short run."""
    steps = len(train) * plan.section["epochs"]
    factors = {id(variable): plan.section["encoder_rate"] for variable in plan.slow}
    model.compile(
        optimizer(plan.section, plan.training, steps, factors),
        plan.loss,
        weighted_metrics=plan.metrics,
        jit_compile=machine.xla,  # Keras's "auto" turns XLA on, four times slower on CPUs
    )
    x, y, weights = (keras.tree.map_structure(lambda a: a[:1], part) for part in train[0])
    predicted = model(x, training=False)
    model.optimizer.build(model.trainable_variables)
    model.compute_loss(x, y, predicted, weights)
    model.compute_metrics(x, y, predicted, weights)
    model.reset_metrics()


def _train(model: keras.Model, course: Course, callbacks: list) -> None:
    """Train the epochs that are left."""
    epochs, checkpoints = course.plan.section["epochs"], course.checkpoints
    train, valid = feed(model, course.train, course.valid)
    try:
        model.fit(
            train,
            validation_data=valid,
            epochs=epochs,
            initial_epoch=course.state.epoch,
            callbacks=callbacks,
            shuffle=False,  # the batches are shuffled already, by seed and epoch
            verbose=0,
        )
    except KeyboardInterrupt as stop:
        kept = checkpoints.kept_message(epochs)
        begun = f"{kept}; the same command resumes from there"
        none = "no epoch was finished; the same command starts from the beginning"
        raise type(stop)(begun if kept else none) from stop
    finally:
        checkpoints.wait()


def _tensorboard(run: Path) -> keras.callbacks.Callback:
    for package in ("tensorboard", "tensorflow"):
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"--tensorboard needs {package}: pip install -r requirements/tensorboard.txt"
            )
    return keras.callbacks.TensorBoard(run / "tensorboard", write_graph=False)
