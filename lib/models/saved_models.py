"""Load Keras networks from disk: encoders to transfer, classifiers. Executes nothing in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import keras

from lib.artefacts import files, run_record
from lib.console import say
from lib.errors import UserError
from lib.labels import TASKS
from lib.models import keras2_files, released_models
from lib.models.keras_files import load as load_model

FORMER_OUTPUT = "attention"  # of classifiers that earlier versions trained with heads.attention


def load_encoder(
    run: Path, model: str, iteration: int, features: Mapping, command: str
) -> tuple[keras.Model, Path]:
    """The encoder of a finished pretraining run, or the authors' in its place, and its file.

    run : directory of the pretraining; model, iteration : of that run
    features : the feature settings of the music
    command : the command that makes the run, for messages

    Raises UserError, naming the command to run, when the run is missing or not finished, when the
    file is damaged or not an encoder, or when it was pretrained on other features.
    """
    released = None if run.is_dir() else released_models.pretrained(run.parent, model, iteration)
    if released:
        _check_features(released, released_models.FEATURES, features)
        return keras2_files.load(released, classifier=False), released
    path = run / "encoder.keras"
    record = files.read_json(run / "run.json")
    if record is None or not path.is_file():
        state = "is not finished" if run.is_dir() else "does not exist"
        raise UserError(f"the pretraining run {run} {state}: run first\n  {command}")
    run_record.check_files(run, record, [path.name])
    _check_features(path, record.get("inputs", {}).get("features", {}), features)
    encoder = load_model(path, f"run again\n  {command} --overwrite")
    size = (None, features["n_mels"], features["window_frames"], 1)
    if encoder.input_shape != size or len(encoder.output_shape) != 2:
        raise UserError(
            f"{path} maps {encoder.input_shape} to {encoder.output_shape}; an "
            f"encoder maps {size} to (None, d): run again\n  {command} --overwrite"
        )
    return encoder, path


def _check_features(path: Path, features: Mapping, wanted: Mapping) -> None:
    differences = run_record.differences(features, wanted)
    if differences:
        raise UserError(
            f"{path} was pretrained on other features ({'; '.join(differences)}): use the same "
            "settings, or pretrain again with those of the music"
        )


def load_classifier(path: Path, features: Mapping) -> keras.Model:
    """Load the network of a classifier: a .keras file, or a released model of the authors (.hdf5).

    Returns it: (batch, n_mels, window_frames, 1) float32 -> {task: (batch, classes)}. Raises
    UserError when the file is missing, damaged, could run a program or is not a classifier of this
    suite.
    """
    if path.suffix in released_models.SUFFIXES:
        return keras2_files.load(path, classifier=True)
    model = load_model(path, "train it again, or name another model")
    _check_classifier(model, features, path)
    return model


def _check_classifier(model: keras.Model, features: Mapping, path: Path) -> None:
    expected_input = (None, features["n_mels"], features["window_frames"], 1)
    expected = {task: (None, len(classes)) for task, classes in TASKS.items()}
    inputs = getattr(model, "input_shape", type(model).__name__)
    output = getattr(model, "output", None)
    outputs = getattr(output, "shape", None)
    if isinstance(output, Mapping):
        outputs = {name: tuple(tensor.shape) for name, tensor in output.items()}
        if outputs.pop(FORMER_OUTPUT, None):
            say(f"{path} weighs windows by attention, which is ignored: all windows count equally")
    if inputs != expected_input or outputs != expected:
        raise UserError(
            f"{path} maps {inputs} to {outputs}; a classifier of this suite maps {expected_input} "
            f"to {expected}: name one that trans_train_*.py made"
        )
