"""Export a Keras classifier to an ONNX file by Keras's own export, and compare their outputs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from lib import configuration
from lib.artefacts import files
from lib.console import native_messages_aside, say
from lib.errors import UserError
from lib.labels import TASKS
from lib.models import classifiers, onnx_files, saved_models

TOLERANCE = 1e-5  # of a probability, between Keras and onnxruntime [ours]
WINDOWS = 3  # for this comparison
LICENCES = {classifiers.SHIPPED: "MIT"}
UNKNOWN = "not stated: ask who trained it"


def export_file(path: Path, out: Path, *, overwrite: bool = False) -> None:
    """Write the classifier `path` (see classifiers.load) as an ONNX file.

    Raises UserError when it is not a classifier, when `out` exists already, and as `export` does.
    """
    if out.suffix != onnx_files.SUFFIX:
        raise UserError(f"--export writes ONNX: name a file that ends in .onnx, not {out.name}")
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists already: --overwrite replaces it")
    file, features = classifiers.model_file(path, configuration.load()["features"])
    model = saved_models.load_classifier(file, features)
    files.make_folder(out.parent)
    licence = LICENCES.get(file.parent.resolve(), UNKNOWN)
    export(model, out, features, files.file_hash(file), licence=licence)
    record = files.read_json(file.parent / "run.json") or {}
    if (
        isinstance(record.get("files"), dict)
        and out.resolve() == file.with_suffix(out.suffix).resolve()
    ):
        record["files"][out.name] = files.file_hash(out)  # the run now has this one
        files.write_json(file.parent / "run.json", record)
    say(f"{out}: {out.stat().st_size / 1e6:.1f} MB, gives the same answers as {file}")


def export(
    model: keras.Model, path: Path, features: Mapping, source: str, *, licence: str = UNKNOWN
) -> None:
    """Write a classifier as ONNX, completely or not at all.

    features : feature settings of its windows
    source   : SHA-256 of its model file

    Raises UserError when Keras's backend has no such export, or the file gives other outputs.
    """
    shape = (None, features["n_mels"], features["window_frames"], 1)
    signature = [keras.InputSpec(shape=shape, dtype="float32", name=onnx_files.INPUT)]
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    with files.atomic(path) as partial:
        try:
            with native_messages_aside(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.export(partial, format="onnx", verbose=False, input_signature=signature)
        except Exception as error:  # Keras, its backend and the converter each raise their own
            reason = str(error).partition("\n")[0][:120]
            raise UserError(
                f"no ONNX file: Keras cannot export with {keras.backend.backend()} here "
                f"({type(error).__name__}: {reason})"
            ) from error
        _describe(partial, onnx_files.metadata(features, source, licence))
        _compare(model, onnx_files.read(partial), shape)


def _describe(path: Path, about: Mapping[str, str]) -> None:
    """Name the outputs, which Keras sorts by name, and add the metadata."""
    import onnx

    content = onnx.load(path)
    names = dict(zip((o.name for o in content.graph.output), sorted(TASKS), strict=True))
    for value in content.graph.output:
        value.name = names[value.name]
    for node in content.graph.node:
        for names_of in (node.input, node.output):
            names_of[:] = [names.get(name, name) for name in names_of]
    onnx.helper.set_model_props(content, dict(about))
    content.doc_string = "emotion of music, by windows of log-mel frames: docs/predict.md"
    onnx.save(content, path)


def _compare(model: keras.Model, exported: onnx_files.OnnxNetwork, shape: tuple) -> None:
    windows = np.random.default_rng(0).normal(-3, 2, (WINDOWS, *shape[1:])).astype(np.float32)
    expected = model(windows, training=False)
    answer = exported.predict(windows)
    for task in TASKS:
        error = float(np.abs(answer[task] - keras.ops.convert_to_numpy(expected[task])).max())
        if not error <= TOLERANCE:
            raise UserError(
                f"no ONNX file: its outputs differ from those of Keras by {error:.1e} ({task}); "
                f"expected at most {TOLERANCE:.0e}"
            )
