"""The authors' released models: weights of Keras 2 files in the networks of this suite.

    python3 -m lib.legacy FILE.hdf5 OUT/

writes OUT/ as a run directory: with model.keras for a transferred model (models_trans/…), with
encoder.keras for a pretrained one (models/…). Without conversion, predict.py takes the former and
the transfer scripts the latter where the authors' archives put them.

Weights are read by the names of layers, however they are nested (`time_distributed`), and each is
checked; of the architecture only two facts are used, both from JSON. Nothing in a file is executed:
the pickled lambda of the CPC files is never touched. The originals compute channels first, with
batch norm over time (ICASSP 2021's code); the networks here channels last.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from lib import console, keras_backend
from lib.artefacts import files as artefacts_files
from lib.artefacts import run_record
from lib.errors import UserError, guard
from lib.labels import TASKS
from lib.models import architecture
from lib.plain_hdf5 import DAMAGE, open_plain

if TYPE_CHECKING:
    import keras

# what the released models were trained on: the same for all, and written in none
FEATURES = {
    "sample_rate": 16000,
    "n_fft": 2048,
    "win_length": 1024,
    "hop_length": 512,
    "n_mels": 128,
    "window_frames": 31,
    "window_hop": 15,
}
# names of their layers, where they differ from those here
CPC_LAYERS = {"fc1": "b3_fc1", "fc1_b1": "b3_b3", "code": "encod"}
MOST_UNITS = 4096  # of a dense layer [ours]; the released models have 256 and 512
EXPANSION = 4  # bytes of weights per byte stored [ours]; Keras 2 writes them as they are
HEAD_LAYERS = {f"shared_fc{i}": f"b9_fc{i}" for i in (1, 2, 3)}
for number, task in enumerate(TASKS, 10):
    HEAD_LAYERS |= {f"{task}_fc{i}": f"b{number}_fc{i}" for i in (1, 2)}

Found = dict[str, dict[str, h5py.Dataset]]  # {layer: {variable: its values in the file}}


def load(path: Path, classifier: bool | None = None) -> keras.Model:
    """The network of a released model, on (batch, 128, 31, 1) float32.

    classifier : what it must be: a transferred model (True), a pretrained one (False), either

    Returns the classifier of a transferred file, as of emotion_heads.classifier, or the encoder of
    a pretrained one. Raises UserError when the file is missing, damaged or of another network,
    naming the layer that differs.
    """
    if not path.is_file():
        raise UserError(f"no file {path}: expected a released model, .hdf5")
    try:
        with open_plain(path, EXPANSION) as file:
            found = _weights(file)
            if "b1_b1" not in found:
                raise UserError(
                    f"{path} is of another network: it has no layer b1_b1; expected a released "
                    "model (SCAE, CNN or CPC, pretrained or transferred)"
                )
            if classifier is not None and classifier != _has_heads(found):
                raise UserError(
                    f"{path} is a {'pretrained' if classifier else 'transferred'} model: expected "
                    f"a {'transferred' if classifier else 'pretrained'} one"
                )
            return _network(path, found, _flattened_channels_first(file, path))
    except DAMAGE as error:
        raise UserError(
            f"{path} is not a model file of Keras 2, or is damaged ({str(error)[:80]}): get it "
            "again"
        ) from error


def pretrained(folder: Path, model: str, iteration: int) -> Path | None:
    """The released file of a pretraining in `folder`, models/speech/<language>/."""
    return _only(folder, rf"{re.escape(model)}\.it_{iteration}\..*\.hdf5")


def transferred(folder: Path, model: str, mode: str, iteration: int) -> Path | None:
    """The released file of a transfer in `folder`, models_trans/speech_…_2_music_…/.

    Their names tell the frozen from the released step by the learning rate alone.
    """
    rate = re.escape({"full": ".lr_5e-05"}.get(mode, ".lr_0.001"))
    name = rf"(?=.*{rate}\.){re.escape(model)}\.(.*\.)?it_{iteration}\..*\.hdf5"
    return _only(folder, name)


def _only(folder: Path, name: str) -> Path | None:
    """The file whose name matches a regular expression."""
    files = folder.iterdir() if folder.is_dir() else []
    found = sorted(path for path in files if re.fullmatch(name, path.name))
    best = [path for path in found if ".best." in path.name] or found
    if len(best) > 1:
        names = ", ".join(path.name for path in best)
        raise UserError(f"{folder} holds several released models ({names}): keep one there")
    return best[0] if best else None


def _has_heads(found: Found) -> bool:
    return "quadrants" in found


def _weights(file: h5py.File) -> Found:
    """All variables of all layers; a layer that occurs twice must hold the same."""
    found: Found = {}

    def visit(name: str, item: object) -> None:
        parts = name.split("/")
        if not isinstance(item, h5py.Dataset) or len(parts) < 2 or parts[0] == "optimizer_weights":
            return
        layer, variable = parts[-2], parts[-1].split(":")[0]
        if variable in found.setdefault(layer, {}):
            if not np.array_equal(found[layer][variable][()], item[()]):
                raise UserError(
                    f"{file.filename} holds two layers {layer} that differ: expected the network "
                    "of a released model"
                )
        found[layer][variable] = item

    file.get("model_weights", file).visititems(visit)
    return found


def _flattened_channels_first(file: h5py.File, path: Path) -> bool:
    """Whether maps were flattened one after the other, in the order of channels-first data.

    Keras's Flatten moves the channels last if it is told that they come first, as all released
    models are.
    """
    text = _model_config(file, path)
    if text is None:
        return False
    formats = set()
    for item in architecture.objects(architecture.parse(text, path)):
        if item.get("class_name") == "Flatten":
            inner = item.get("config")
            inner = inner if isinstance(inner, Mapping) else {}
            formats.add(str(inner.get("data_format", "channels_last")))
    if len(formats) > 1:
        raise UserError(f"{path} flattens in two orders: expected the network of a released model")
    return formats == {"channels_last"}


def _model_config(file: h5py.File, path: Path) -> str | bytes | None:
    """The architecture in a file, or in the .json beside it; None where there is none."""
    sibling = path.with_suffix(".json")
    if "model_config" in file.attrs:
        if file.attrs.get_id("model_config").shape != ():
            raise UserError(f"{path} has a model_config that is no text: get it again")
        return file.attrs["model_config"]
    if not sibling.is_file():
        return None
    if sibling.stat().st_size > architecture.MOST:
        raise architecture.too_large(sibling.stat().st_size, sibling)
    return sibling.read_text(encoding="utf-8")


def _network(path: Path, found: Found, flat_first: bool) -> keras.Model:
    """Build the network that the layers in `found` are of, with their weights."""
    with architecture.unallocated():  # a shape that is believed takes its memory
        _check_shapes(path, found, _build(path, found))
    model = _build(path, found)
    encoder = model.get_layer("encoder") if _has_heads(found) else model
    is_cpc = _is_cpc(found)
    after_flatten = "fc1" if is_cpc else "shared_fc1"
    for layer, source in _layers(model, found):
        for variable in layer.variables:
            values = _values(path, found, source, variable)
            if flat_first and layer.name == after_flatten and variable.name == "kernel":
                maps = encoder.get_layer("b3_d1" if is_cpc else "encod").output.shape[1:]
                mel, frames, channels = maps
                values = values.reshape(channels, mel, frames, -1).transpose(1, 2, 0, 3)
                values = values.reshape(variable.shape)
            variable.assign(values)
    return model


def _is_cpc(found: Found) -> bool:
    return "b3_fc1" in found


def _build(path: Path, found: Found) -> keras.Model:
    """The network that the layers in `found` are of, with random weights."""
    from lib.models import cpc, emotion_heads, scae

    sizes = {"n_mels": FEATURES["n_mels"], "frames": FEATURES["window_frames"]}
    sizes["norm_axis"] = _norm_axis(found)
    if _is_cpc(found):
        encoder = cpc.build_encoder(code=_units(path, found, "encod"), **sizes)
    else:
        encoder = scae.build_encoder(**sizes)
    if not _has_heads(found):
        return encoder
    units = _units(path, found, "b9_fc1")
    return emotion_heads.classifier(
        encoder, emotion_heads.build(encoder.output_shape[-1], TASKS, units=units)
    )


def _layers(model: keras.Model, found: Found) -> Iterator[tuple[keras.layers.Layer, str]]:
    """The layers of a network that have weights, each with its name in the file."""
    import keras

    names = dict(CPC_LAYERS) if _is_cpc(found) else {}
    names |= HEAD_LAYERS if _has_heads(found) else {}
    for layer in model._flatten_layers(include_self=False):
        if layer.variables and not isinstance(layer, (keras.Model, keras.layers.Dropout)):
            yield layer, names.get(layer.name, layer.name)


def _check_shapes(path: Path, found: Found, model: keras.Model) -> None:
    """Raise UserError, naming the layer, where a file is not of the network `model`."""
    layers = list(_layers(model, found))
    for layer, source in layers:
        for variable in layer.variables:
            shape = tuple(variable.shape)
            stored = found.get(source, {}).get(variable.name)
            if stored is None:
                raise UserError(
                    f"{path} is of another network: it has no {variable.name} of a layer {source}; "
                    "expected a released model (SCAE, CNN or CPC, pretrained or transferred)"
                )
            if stored.shape != shape or stored.dtype.kind != "f":
                raise UserError(
                    f"{path} is of another network: {variable.name} of its layer {source} is "
                    f"{stored.dtype} {stored.shape}, expected float32 {shape}"
                )
    used = {source for _, source in layers}
    left = sorted(name for name, values in found.items() if values and name not in used)
    if _has_heads(found) and left:
        raise UserError(
            f"{path} is of another network: its layer {left[0]} is not one of the released models'"
        )


def _values(path: Path, found: Found, layer: str, variable: keras.Variable) -> np.ndarray:
    """What the file holds for a variable : float32 of its shape."""
    values = found[layer][variable.name][()].astype(np.float32)
    if not np.isfinite(values).all():
        raise UserError(f"{path}: layer {layer} holds numbers that are not finite: get it again")
    return values


def _norm_axis(found: Found) -> int:
    """The axis of batch norm: over time in the released models, else over channels."""
    from lib.models.convolutional_blocks import CHANNELS, TIME

    size = getattr(found.get("b1_b2", {}).get("gamma"), "shape", None)
    return TIME if size == (FEATURES["window_frames"],) else CHANNELS


def _units(path: Path, found: Found, layer: str) -> int:
    """The units of a dense layer."""
    bias = found.get(layer, {}).get("bias")
    shape = getattr(bias, "shape", None)
    if shape is None or len(shape) != 1 or not 0 < shape[0] <= MOST_UNITS:
        raise UserError(
            f"{path} is of another network: it has no dense layer {layer} of at most {MOST_UNITS} "
            "units"
        )
    return int(bias.shape[0])


def convert(path: Path, out: Path) -> Path:
    """Write a released model as a run directory `out`; returns it.

    What stands there already is left alone: UserError.
    """
    began = time.time()
    if out.exists():
        raise UserError(f"{out} is there already: name a new folder")
    model = load(path)
    name = "model.keras" if isinstance(model.output, Mapping) else "encoder.keras"
    with artefacts_files.whole_folder(out) as new:
        model.save(new / name)
        inputs = {
            "legacy": path.name,
            "sha256": artefacts_files.file_hash(path),
            "features": FEATURES,
        }
        run_record.write_run(new, inputs, {}, execution={}, began=began)
    return out


@guard
def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(
        "python3 -m lib.legacy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("file", type=Path, metavar="FILE.hdf5", help="a released model")
    p.add_argument("out", type=Path, metavar="OUT", help="new folder for the converted model")
    args = p.parse_args(argv)
    keras_backend.import_keras()
    out = convert(args.file, args.out)
    console.say(f"{out}: " + ", ".join(sorted(path.name for path in out.iterdir())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
