"""Load the authors' released models: weights of Keras 2 files in the networks of this suite.

Weights are read by layer name, at any nesting (`time_distributed`), and each is checked. Of the
architecture, only the order of its Flatten is read, from JSON. Nothing in a file is executed: the
pickled lambda of the CPC files is never touched. The original networks are channels first, with
batch norm over time (ICASSP 2021's code); the networks here are channels last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import keras
import numpy as np

from lib.errors import UserError
from lib.labels import TASKS
from lib.models import architecture, cpc, emotion_heads, released_models, scae
from lib.models.convolutional_blocks import CHANNELS, PUBLISHED, TIME, Sizes
from lib.plain_hdf5 import DAMAGE, open_plain

MOST_UNITS = 4096  # of a dense layer [ours]; the released models have 256 and 512
EXPANSION = 4  # most bytes of weights per byte stored [ours]; Keras 2 does not compress them
# layer here -> its name in the files, where they differ
LAYERS = {"fc1": "b3_fc1", "fc1_b1": "b3_b3", "code": "encod"}
LAYERS |= {f"shared_fc{i}": f"b9_fc{i}" for i in (1, 2, 3)}
for number, task in enumerate(TASKS, 10):
    LAYERS |= {f"{task}_fc{i}": f"b{number}_fc{i}" for i in (1, 2)}

Layers = dict[str, dict[str, h5py.Dataset]]  # {layer: {variable: its values in the file}}


@dataclass(frozen=True)
class _Released:
    """A file, and the values in it by layer and variable."""

    path: Path
    layers: Layers

    @property
    def is_cpc(self) -> bool:
        return "b3_fc1" in self.layers

    @property
    def has_heads(self) -> bool:
        return "quadrants" in self.layers

    def other_network(self, difference: str) -> UserError:
        return UserError(
            f"{self.path} holds another network: {difference}; expected a released model (SCAE, "
            "CNN or CPC, pretrained or transferred)"
        )

    def shape(self, layer: str, variable: str) -> tuple[int, ...] | None:
        return getattr(self.layers.get(layer, {}).get(variable), "shape", None)

    def units(self, layer: str) -> int:
        """The units of a dense layer."""
        shape = self.shape(layer, "bias") or ()
        if len(shape) != 1 or not 0 < shape[0] <= MOST_UNITS:
            raise self.other_network(f"it has no dense layer {layer} of at most {MOST_UNITS} units")
        return shape[0]

    def values(self, layer: str, variable: str) -> np.ndarray:
        """The values of a variable : finite float32."""
        values = self.layers[layer][variable][()].astype(np.float32)
        if not np.isfinite(values).all():
            raise UserError(
                f"{self.path}: layer {layer} holds numbers that are not finite: get it again"
            )
        return values


def load(path: Path, classifier: bool | None = None) -> keras.Model:
    """The network of a released model, on (batch, 128, 31, 1) float32.

    classifier : expected kind: a transferred model (True), a pretrained one (False), either (None)

    Returns the classifier of a transferred file (see emotion_heads.classifier), or the encoder of a
    pretrained one. Raises UserError when the file is missing, damaged or of another network,
    naming the layer that differs.
    """
    if not path.is_file():
        raise UserError(f"no file {path}: expected a released model, .hdf5")
    try:
        with open_plain(path, EXPANSION) as file:
            released = _Released(path, _read_layers(file))
            if "b1_b1" not in released.layers:
                raise released.other_network("it has no layer b1_b1")
            if classifier not in (None, released.has_heads):
                kinds = ("pretrained", "transferred")
                raise UserError(
                    f"{path} is a {kinds[released.has_heads]} model: expected a "
                    f"{kinds[classifier]} one"
                )
            return _network(released, _flattened_channels_first(file, path))
    except DAMAGE as error:
        raise UserError(
            f"{path} is not a model file of Keras 2, or is damaged ({str(error)[:80]}): get it "
            "again"
        ) from error


def _read_layers(file: h5py.File) -> Layers:
    """All variables of all layers; a layer that occurs twice must hold the same values."""
    layers: Layers = {}

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        parts = name.split("/")
        if not isinstance(item, h5py.Dataset) or len(parts) < 2 or parts[0] == "optimizer_weights":
            return
        layer, variable = parts[-2], parts[-1].split(":")[0]
        variables = layers.setdefault(layer, {})
        if variable in variables and not np.array_equal(variables[variable][()], item[()]):
            raise UserError(
                f"{file.filename} holds two layers {layer} that differ: expected the network of a "
                "released model"
            )
        variables[variable] = item

    file.get("model_weights", file).visititems(visit)
    return layers


def _flattened_channels_first(file: h5py.File, path: Path) -> bool:
    """Whether maps were flattened one after the other, in the order of channels-first data.

    Keras's Flatten moves the channels last if its data_format is channels_first, as in all released
    models.
    """
    formats = set()
    for item in architecture.objects(_architecture(file, path)):
        if item.get("class_name") == "Flatten":
            config = item.get("config")
            config = config if isinstance(config, Mapping) else {}
            formats.add(str(config.get("data_format", "channels_last")))
    if len(formats) > 1:
        raise UserError(f"{path} flattens in two orders: expected the network of a released model")
    return formats == {"channels_last"}


def _architecture(file: h5py.File, path: Path) -> dict:
    """The architecture in a file, or in the .json next to it; {} if there is none."""
    if "model_config" in file.attrs:
        if file.attrs.get_id("model_config").shape != ():
            raise UserError(f"{path} has a model_config that is not text: get it again")
        return architecture.parse(file.attrs["model_config"], path)
    sibling = path.with_suffix(".json")
    if not sibling.is_file():
        return {}
    architecture.check_size(sibling.stat().st_size, sibling)
    return architecture.parse(sibling.read_text(encoding="utf-8"), path)


def _network(released: _Released, flat_first: bool) -> keras.Model:
    """The network of a released model, with its weights.

    flat_first : the answer of `_flattened_channels_first`
    """
    with architecture.unallocated():  # the shapes are checked before weights take memory
        _check_shapes(released, _build(released))
    model = _build(released)
    flat = "b3_fc1" if released.is_cpc else "b9_fc1"  # the layer after Flatten
    for layer, source in _named_layers(model):
        for variable in layer.variables:
            values = released.values(source, variable.name)
            if flat_first and (source, variable.name) == (flat, "kernel"):
                size = (
                    PUBLISHED.maps[-1],
                    -1,
                    released_models.FEATURES["window_frames"],
                    values.shape[-1],
                )
                values = values.reshape(size).transpose(1, 2, 0, 3).reshape(values.shape)
            variable.assign(values)
    return model


def _build(released: _Released) -> keras.Model:
    """The network of a released model, with random weights."""
    over_time = released.shape("b1_b2", "gamma") == (released_models.FEATURES["window_frames"],)
    sizes = Sizes(norm_axis=TIME if over_time else CHANNELS)
    if released.is_cpc:
        encoder = cpc.build_encoder(sizes, released.units("encod"))
    else:
        encoder = scae.build_encoder(sizes)
    if not released.has_heads:
        return encoder
    heads = emotion_heads.HeadSizes(units=released.units("b9_fc1"))
    return emotion_heads.classifier(
        encoder, emotion_heads.build(encoder.output_shape[-1], TASKS, heads)
    )


def _named_layers(model: keras.Model) -> list[tuple[keras.layers.Layer, str]]:
    """The layers of a network that have weights, each with its name in the file."""
    return [
        (layer, LAYERS.get(layer.name, layer.name))
        for layer in model._flatten_layers(include_self=False)
        if layer.variables and not isinstance(layer, (keras.Model, keras.layers.Dropout))
    ]


def _check_shapes(released: _Released, model: keras.Model) -> None:
    """Raise UserError, naming the layer, if a file does not fit the network `model`."""
    layers = _named_layers(model)
    for layer, source in layers:
        for variable in layer.variables:
            stored = released.layers.get(source, {}).get(variable.name)
            if stored is None:
                raise released.other_network(f"it has no {variable.name} of a layer {source}")
            if stored.shape != tuple(variable.shape) or stored.dtype.kind != "f":
                raise released.other_network(
                    f"{variable.name} of its layer {source} is {stored.dtype} {stored.shape}, "
                    f"expected float32 {tuple(variable.shape)}"
                )
    unused = released.layers.keys() - {source for _, source in layers}
    unused = sorted(layer for layer in unused if released.layers[layer])
    if released.has_heads and unused:
        raise released.other_network(f"its layer {unused[0]} is not one of the released models'")
