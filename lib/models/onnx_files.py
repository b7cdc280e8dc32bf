"""Read classifiers from ONNX files and run them by onnxruntime, without Keras and TensorFlow.

Such a file is data and is checked before it is run: it must hold all of its weights itself, use
only the operators of this suite's exports, and have no tensor larger than the suite's networks may
have. Its metadata say which features and classes it is for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib import configuration
from lib.errors import UserError
from lib.labels import TASKS

SUFFIX = ".onnx"
INPUT = "log_mel"
LARGEST_FILE = 1 << 28  # bytes [ours]; with the paper's heads 27 MB
LARGEST = 1 << 24  # numbers in a tensor per window [ours], as in keras_files; the suite's: 1 << 17
# in the exports of all encoders of the suite and of the authors' models
OPERATORS = set(
    """
    Add Cast Concat Constant Conv Gather GlobalAveragePool Identity MatMul MaxPool Mul Neg
    Reciprocal ReduceMean Relu Reshape Shape Slice Softmax Sqrt Sub Transpose Unsqueeze
    """.split()
)
PROVIDERS = {  # execution providers, the fastest first; options that keep full float32 precision
    "CUDAExecutionProvider": {"use_tf32": "0"},
    "CPUExecutionProvider": {},
}


@dataclass(frozen=True)
class OnnxNetwork:
    """A network from an ONNX file.

    predict  : windows, float32 (n, n_mels, window_frames, 1) -> {task: float32 (n, classes)}
    features : feature settings of its windows
    source   : SHA-256 of the model file that it was made from
    """

    predict: Callable[[np.ndarray], dict[str, np.ndarray]]
    features: Mapping
    source: str


def metadata(features: Mapping, source: str, licence: str) -> dict[str, str]:
    """The metadata of an ONNX file, as text by name.

    source : SHA-256 of the model file that it is made from
    """
    hop = features["window_frames"] * features["hop_length"] / features["sample_rate"]
    return {
        "features": json.dumps(dict(features)),
        "classes": json.dumps(TASKS),
        "hop_seconds": str(hop),  # between windows that do not overlap, as predict.py cuts them
        "licence": licence,
        "source_sha256": source,
    }


def read(path: Path) -> OnnxNetwork:
    """The classifier in an ONNX file.

    Raises UserError when the file is missing, damaged, larger than a classifier of this suite,
    needs other files or operators, or is not a classifier.
    """
    content = _content(path)
    model = _parse(content, path)
    about = {entry.key: entry.value for entry in model.metadata_props}
    features = _features(about, path)
    _check_graph(model, features, path)
    session = _session(content)
    outputs = [output.name for output in session.get_outputs()]

    def predict(windows: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(outputs, session.run(None, {INPUT: windows}), strict=True))

    return OnnxNetwork(predict, features, about["source_sha256"])


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise UserError(f"no file {path}: expected a classifier, .onnx")
    if path.stat().st_size > LARGEST_FILE:
        raise UserError(
            f"{path} has {path.stat().st_size} bytes: expected at most {LARGEST_FILE}; it is not a "
            "classifier of this suite"
        )
    return path.read_bytes()


def _parse(content: bytes, path: Path):
    """The protocol buffer of an ONNX file; other files that it names are not read."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load_model_from_string(content)
    except DecodeError as error:
        raise UserError(f"{path} is damaged or not an ONNX file: make it again") from error


def _features(about: Mapping[str, str], path: Path) -> dict:
    """The feature settings in the metadata, checked."""
    try:
        features = json.loads(about["features"])
        classes = json.loads(about["classes"])
        lacking = "source_sha256" not in about or not isinstance(features, dict)
    except (KeyError, ValueError, RecursionError):
        lacking = True
    if lacking or classes != {task: list(names) for task, names in TASKS.items()}:
        raise UserError(
            f"{path} does not say which features and classes it is for: expected a file that "
            "predict.py --export or a transfer made"
        )
    configuration.check_features(features)
    return features


def _check_graph(model, features: Mapping, path: Path) -> None:
    """Raise UserError if a graph is not one that this suite exports."""
    import onnx

    graph = model.graph
    foreign = {node.op_type for node in graph.node if node.domain or node.op_type not in OPERATORS}
    if foreign or model.functions or graph.sparse_initializer:
        raise UserError(
            f"{path} has operators that no network of this suite has "
            f"({', '.join(sorted(foreign)) or 'functions, sparse weights'}): name a file that this "
            "suite made"
        )
    constants = [a.t for node in graph.node for a in node.attribute if a.HasField("t")]
    tensors = [*graph.initializer, *constants]
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors):
        raise UserError(f"{path} keeps weights in other files: expected one file with all of them")
    shapes = _shapes(model, path)
    expected = {INPUT: (features["n_mels"], features["window_frames"], 1)}
    expected |= {task: (len(classes),) for task, classes in TASKS.items()}
    ends = [value.name for value in (*graph.input, *graph.output)]
    found = {name: shapes.get(name, (0,))[1:] for name in ends}
    if found != expected:
        raise UserError(
            f"{path} has inputs and outputs of shape {found}: a classifier of this suite has "
            f"{expected} (after the axis of windows); name a file that this suite made"
        )


def _shapes(model, path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor for one window; UserError if one is unknown or too large."""
    import onnx

    single = onnx.ModelProto()
    single.CopyFrom(model)
    for value in single.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    try:
        known = onnx.shape_inference.infer_shapes(single, strict_mode=True, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        raise UserError(f"{path} is damaged ({str(error)[:80]}): make it again") from error
    shapes = {
        value.name: tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
        for value in (*known.input, *known.value_info, *known.output)
    }
    shapes |= {tensor.name: tuple(tensor.dims) for tensor in known.initializer}
    for node in known.node:
        for name in node.output:
            if 0 in (shape := shapes.get(name, (0,))) or math.prod(shape) > LARGEST:
                raise UserError(
                    f"{path}: {name[:80]} of its network has the shape {shape}: expected at most "
                    f"{LARGEST} numbers; name a file that this suite made"
                )
    return shapes


def _session(content: bytes):
    """A session for a checked file: on a GPU if onnxruntime has one, else on the CPU.

    A call uses one thread: callers make several calls at a time, which uses the cores better.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    there = [name for name in PROVIDERS if name in onnxruntime.get_available_providers()]
    return onnxruntime.InferenceSession(
        content, options, providers=[(name, PROVIDERS[name]) for name in there]
    )
