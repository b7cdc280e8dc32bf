"""Models from disk: encoders to transfer, classifiers to predict with. Nothing in them is executed.

A classifier is a finished run directory of a transfer, a .keras file, or a released model of the
authors' (.hdf5). Those are also found where the authors' archives put them, in place of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras

from lib import configuration
from lib.artefacts import files, run_record
from lib.artefacts.run_name import RunName, folds_of, iterations_of, transfers
from lib.configuration import ROOT
from lib.console import say
from lib.errors import UserError
from lib.labels import TASKS
from lib.models import keras2_files
from lib.models.keras_files import load as load_model

SHIPPED = ROOT / "models_trans" / "shipped"  # the run directory that comes with the suite
FORMER_OUTPUT = "attention"  # of classifiers that earlier versions trained with heads.attention


@dataclass(frozen=True)
class Classifier:
    """A model that predicts emotion, and what it was made for."""

    model: keras.Model  # (batch, n_mels, window_frames, 1) float32 -> {task: (batch, classes)}
    features: Mapping  # feature settings of its windows
    path: Path  # where it was read from
    sha256: str  # of that file


def load_encoder(
    run: Path, model: str, iteration: int, features: Mapping, command: str
) -> tuple[keras.Model, Path]:
    """The encoder of a finished pretraining run, or the authors' in its place, and its file.

    run : directory of the pretraining; model, iteration : of it
    features : the feature settings of the music
    command : that makes the run, for the messages

    Raises UserError, naming the command to run, when the run is not there or not finished, when the
    file is damaged or no encoder, or when it was pretrained on other features.
    """
    released = None if run.is_dir() else keras2_files.pretrained(run.parent, model, iteration)
    if released:
        _check_features(released, keras2_files.FEATURES, features)
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
            f"{path} was pretrained on other features ({'; '.join(differences)}): set them alike, "
            "or pretrain again with those of the music"
        )


def classifier(path: Path, features: Mapping) -> Classifier:
    """Load a classifier.

    path : run directory, .keras file, or a released model of the authors' (.hdf5)
    features : feature settings of a .keras file that has no run.json beside it

    Raises UserError when there is none, or when it is unfinished, damaged, holds code or is no
    classifier of this suite.
    """
    if path.suffix in (".hdf5", ".h5"):
        model = keras2_files.load(path, classifier=True)
        return Classifier(model, keras2_files.FEATURES, path, files.file_hash(path))
    file = _model_file(path)
    record = files.read_json(file.parent / "run.json")
    if record is not None:
        features = _recorded_features(record, features, file.parent / "run.json")
        run_record.check_files(file.parent, record, [file.name])
    model = load_model(file, "train it again, or name another model")
    _check_classifier(model, features, file)
    return Classifier(model, features, path, files.file_hash(file))


def _model_file(path: Path) -> Path:
    """The .keras file of a finished run, or `path` if it is one."""
    if path.is_dir():
        file, finished = path / "model.keras", (path / "run.json").is_file()
        name = RunName.parse(path.resolve())
        if folds_of(path):
            raise UserError(f"{path} is a cross-validation: name one of its folds, or --ensemble")
        if finished and name and name.mode == "probe":
            raise UserError(f"{path} is a probe, which keeps no model: name another run")
        if not finished or not file.is_file():
            raise UserError(
                f"{path} is not a finished run (it lacks model.keras or run.json): run the line "
                "that trains it again, it goes on where it was"
            )
        return file
    if path.suffix != ".keras" or not path.is_file():
        raise UserError(
            f"no model {path}: expected a run directory, a .keras file, or an .hdf5 file of the "
            "authors'"
        )
    return path


def _recorded_features(record: dict, default: Mapping, path: Path) -> dict:
    """The feature settings in a run.json; UserError unless they are those of `default`, checked."""
    inputs = record.get("inputs")
    features = inputs.get("features") if isinstance(inputs, dict) else None
    if not isinstance(features, dict) or features.keys() != default.keys():
        raise UserError(f"{path} tells no feature settings: it is damaged; train that run again")
    configuration.check_features(features)
    return features


def _check_classifier(model: keras.Model, features: Mapping, path: Path) -> None:
    expected_input = (None, features["n_mels"], features["window_frames"], 1)
    expected = {task: (None, len(classes)) for task, classes in TASKS.items()}
    inputs = getattr(model, "input_shape", type(model).__name__)
    output = getattr(model, "output", None)
    outputs = getattr(output, "shape", None)
    if isinstance(output, Mapping):
        outputs = {name: tuple(tensor.shape) for name, tensor in output.items()}
        if outputs.pop(FORMER_OUTPUT, None):
            say(f"{path} weighs windows by attention, which is no longer done: they count alike")
    if inputs != expected_input or outputs != expected:
        raise UserError(
            f"{path} maps {inputs} to {outputs}; a classifier of this suite maps {expected_input} "
            f"to {expected}: name one that trans_train_*.py made"
        )


def find(models: Path, name: RunName) -> Path:
    """The run directory of a transfer, or the authors' file in its place.

    Raises UserError with what exists where it does not.
    """
    run = name.path(models)
    if run.is_dir():
        return run
    released = keras2_files.transferred(run.parent, name.model, name.mode, name.iteration)
    if released:
        return released
    listed = "\n  ".join(str(path.relative_to(models)) for path in _trained(models)) or "(none)"
    raise UserError(
        f"no model is trained for this: {run} does not exist. There are\n  {listed}\n"
        "Choose one with -s, -m, -mod, -rel and --iteration, or with --model (and --ensemble for a "
        "cross-validation); without any of them, the model that comes with the suite is used"
    )


def members(run: Path) -> list[Path]:
    """What an ensemble averages: the folds of a cross-validation, or all iterations of a run.

    Raises UserError where there are none.
    """
    paths = folds_of(run) or iterations_of(run)
    if not paths:
        raise UserError(f"--ensemble averages the iterations of a run; {run} is none")
    return paths


def _trained(models: Path) -> list[Path]:
    """The finished transfer runs below `models`, cross-validations too, and the authors' files."""

    def usable(path: Path) -> bool:
        run = any((part / "model.keras").is_file() for part in (path, *folds_of(path)))
        return (run and (path / "run.json").is_file()) or path.suffix == ".hdf5"

    return list(filter(usable, transfers(models)))
