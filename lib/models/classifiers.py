"""Find and load the classifiers that predict emotion.

Keras is imported only for classifiers without an ONNX file.

A classifier is a finished run directory of a transfer, a .keras or .onnx file, or a released model
of the authors (.hdf5), which is also found where their archives put it, in place of a run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib import configuration, keras_backend
from lib.artefacts import files, run_record
from lib.artefacts.run_name import RunName, folds_of, iterations_of, transfers
from lib.configuration import ROOT
from lib.console import say
from lib.errors import UserError
from lib.labels import TASKS
from lib.models import onnx_files, released_models

BATCH = 32  # largest number of windows that a classifier takes at a time
SHIPPED = ROOT / "models_trans" / "shipped"  # the run directory that comes with the suite

Predict = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Classifier:
    """A model that predicts emotion, its feature settings and its file.

    predict  : windows, float32 (n, n_mels, window_frames, 1) -> {task: float32 (n, classes)}
    features : feature settings of its windows
    path     : where it was read from
    sha256   : of that file; for an ONNX file in a run, of the model that it was made from
    """

    predict: Predict
    features: Mapping
    path: Path
    sha256: str


def load(path: Path, features: Mapping) -> Classifier:
    """Load a classifier, through the ONNX file next to it if that was made from it.

    path     : run directory, .keras or .onnx file, or a released model of the authors (.hdf5)
    features : feature settings of a .keras file that has no run.json next to it

    Raises UserError when it is missing, unfinished or damaged, could run a program or is not a
    classifier of this suite.
    """
    if path.suffix == onnx_files.SUFFIX:
        network = onnx_files.read(path)
        return Classifier(network.predict, network.features, path, files.file_hash(path))
    file, features = model_file(path, features)
    sha256 = files.file_hash(file)
    predict = _exported(file, features, sha256) or _through_keras(file, features)
    return Classifier(predict, features, path, sha256)


def model_file(path: Path, features: Mapping) -> tuple[Path, Mapping]:
    """The network file of a classifier (Keras or the authors') and its feature settings.

    path, features, errors : as in `load`
    """
    if path.suffix in released_models.SUFFIXES:
        if not path.is_file():
            raise UserError(f"no file {path}: expected a released model, .hdf5")
        return path, released_models.FEATURES
    file = _keras_file(path)
    record = files.read_json(file.parent / "run.json")
    if record is None:
        return file, features
    _check_encodes(record, path)
    run_record.check_files(file.parent, record, [file.name])
    return file, _recorded_features(record, features, file.parent / "run.json")


def _exported(file: Path, features: Mapping, sha256: str) -> Predict | None:
    """The network in the ONNX file next to a model; None if no such file was made from it."""
    exported = file.with_suffix(onnx_files.SUFFIX)
    if not exported.is_file():
        return None
    record = files.read_json(file.parent / "run.json") or {}
    run_record.check_files(file.parent, record, [exported.name])
    network = onnx_files.read(exported)
    if network.source == sha256 and not run_record.differences(network.features, features):
        return network.predict
    say(
        f"{exported} was not made from the current {file.name}, so it is not used: make it again "
        f"with\n  python3 predict.py --export {file} {exported} --overwrite"
    )
    return None


def _through_keras(file: Path, features: Mapping) -> Predict:
    keras_backend.import_keras()
    from lib.models import saved_models

    model = saved_models.load_classifier(file, features)
    lock = threading.Lock()

    def predict(windows: np.ndarray) -> dict[str, np.ndarray]:
        full = np.zeros((BATCH, *windows.shape[1:]), np.float32)  # one shape: traced once
        full[: len(windows)] = windows
        with lock:
            outputs = model.predict_on_batch(full)
        return {task: np.asarray(outputs[task])[: len(windows)] for task in TASKS}

    return predict


def _keras_file(path: Path) -> Path:
    """The .keras file of a finished run, or `path` if it is one."""
    if path.is_dir():
        file, finished = path / "model.keras", (path / "run.json").is_file()
        name = RunName.parse(path.resolve())
        if folds_of(path):
            raise UserError(f"{path} is a cross-validation: name one fold, or use --ensemble")
        if finished and name and name.mode == "probe":
            raise UserError(f"{path} is a probe, which keeps no model: name another run")
        if not finished or not file.is_file():
            raise UserError(
                f"{path} is not a finished run (it lacks model.keras or run.json): run the command "
                "that trains it again; it resumes where it stopped"
            )
        return file
    if path.suffix != ".keras" or not path.is_file():
        raise UserError(
            f"no model {path}: expected a run directory, a .keras file, or an .hdf5 file of the "
            "authors"
        )
    return path


def _check_encodes(record: dict, path: Path) -> None:
    """Raise UserError for a run that was trained on codes from a file."""
    inputs = record.get("inputs")
    if isinstance(inputs, dict) and "codes" in inputs:
        raise UserError(
            f"{path} learnt from the codes of a file and has no encoder for sound: name another "
            "run, or give it codes yourself (docs/encoders.md)"
        )


def _recorded_features(record: dict, default: Mapping, path: Path) -> dict:
    """The checked feature settings of a run.json; UserError unless they have `default`'s keys."""
    inputs = record.get("inputs")
    features = inputs.get("features") if isinstance(inputs, dict) else None
    if not isinstance(features, dict) or features.keys() != default.keys():
        raise UserError(f"{path} lacks valid feature settings: it is damaged; train it again")
    configuration.check_features(features)
    return features


def find(models: Path, name: RunName) -> Path:
    """The run directory of a transfer, or the authors' file in its place.

    Raises UserError, listing the models that exist, if there is neither.
    """
    run = name.path(models)
    if run.is_dir():
        return run
    released = released_models.transferred(run.parent, name.model, name.mode, name.iteration)
    if released:
        return released
    listed = "\n  ".join(str(path.relative_to(models)) for path in _trained(models)) or "(none)"
    raise UserError(
        f"no model is trained for this: {run} does not exist. Trained models:\n  {listed}\n"
        "Choose one with -s, -m, -mod, -rel and --iteration, or with --model (and --ensemble for a "
        "cross-validation); without any of them, the model that comes with the suite is used"
    )


def members(run: Path) -> list[Path]:
    """The runs that an ensemble averages: folds of a cross-validation, or all iterations of a run.

    Raises UserError if there are none.
    """
    paths = folds_of(run) or iterations_of(run)
    if not paths:
        raise UserError(f"--ensemble averages the iterations of a run; {run} is not a run")
    return paths


def _trained(models: Path) -> list[Path]:
    """Finished transfer runs below `models`, cross-validations included, and the authors' files."""

    def usable(path: Path) -> bool:
        run = any((part / "model.keras").is_file() for part in (path, *folds_of(path)))
        name = RunName.parse(path)
        if name and name.speech == "c":  # takes no sound
            return False
        return (run and (path / "run.json").is_file()) or path.suffix == ".hdf5"

    return list(filter(usable, transfers(models)))
