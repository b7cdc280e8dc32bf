"""Catalogue of the encoders: one record holds all facts about each. Imports nothing heavy."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from lib.configuration import Settings

if TYPE_CHECKING:
    import keras

    from lib.models.convolutional_blocks import Sizes

Statistics = Callable[[], tuple[float, float]]  # mean and standard deviation of the training data


@dataclass(frozen=True)
class ModelSpec:
    """An encoder."""

    name: str  # for -mod and in run directories
    title: str  # in tables and figures
    script: str  # "denoise" or "cpc": pretrain_<script>.py and trans_train_<script>_multi.py
    # settings -> encoder with random weights, (batch, n_mels, window_frames, 1) -> (batch, d);
    # None: no network, a support vector machine on log-mel statistics
    build: Callable[[Settings], keras.Model] | None
    size: str = "network"  # section of the settings with its sizes, in addition to `network`
    # its pretraining objective (lib.pretraining); None: trained from scratch on music
    objective: str | None = None
    # (settings, statistics) -> the model that is pretrained, and the encoder in it
    pretraining: Callable[[Settings, Statistics], tuple[keras.Model, keras.Model]] | None = None
    sections: tuple[str, ...] = ()  # of the settings, for pretraining, in addition to shared ones

    @property
    def baseline(self) -> bool:
        """Whether it learns from music alone."""
        return self.objective is None

    @property
    def probe(self) -> bool:
        """Whether it is a support vector machine instead of a network."""
        return self.build is None


def _builders(module: str) -> ModuleType:
    """Import a module of lib.models only when a network is built: Keras takes seconds."""
    return importlib.import_module(f"lib.models.{module}")


def _sizes(settings: Settings) -> Sizes:
    features, network = settings["features"], settings["network"]
    return _builders("convolutional_blocks").Sizes(
        n_mels=features["n_mels"],
        frames=features["window_frames"],
        maps=(network["maps"], 2 * network["maps"], 4 * network["maps"]),
        dropout=network["dropout"],
        momentum=network["momentum"],
    )


def _denoiser(settings: Settings, statistics: Statistics) -> tuple[keras.Model, keras.Model]:
    mean, scale = statistics() if settings["scae"]["output_from_data"] else (0.0, 1.0)
    return _builders("scae").build(_sizes(settings), mean, scale)


def _predictive(settings: Settings, _: Statistics) -> tuple[keras.Model, keras.Model]:
    section = settings["cpc"]
    return _builders("cpc").build(
        _sizes(settings),
        past=section["past"],
        future=section["future"],
        code=section["code"],
        context=section["context"],
    )


def _masked(settings: Settings, _: Statistics) -> tuple[keras.Model, keras.Model]:
    return _builders("masked_denoiser").build(_sizes(settings), **settings["framewise"])


def _infonce(settings: Settings, _: Statistics) -> tuple[keras.Model, keras.Model]:
    return _builders("cpc_infonce").build(
        _sizes(settings), **settings["framewise"], **settings["nce"]
    )


def _framewise(settings: Settings) -> keras.Model:
    return _builders("framewise_encoder").build_encoder(_sizes(settings), **settings["framewise"])


BASELINE, PROBE = "model_cnn", "model_svm"
_MODELS: dict[str, ModelSpec] = {}
_CODES: dict[str, str] = {}  # name -> title, of codes from files


def register(model: ModelSpec) -> None:
    """Add an encoder to the suite; scripts, transfer and tables then know it."""
    _MODELS[model.name] = model


for _model in (  # the first three are named as in the paper
    ModelSpec(
        name="model_over",
        title="SCAE",
        script="denoise",
        build=lambda s: _builders("scae").build_encoder(_sizes(s)),
        objective="denoising",
        pretraining=_denoiser,
        sections=("scae",),
    ),
    ModelSpec(
        name="model_cpc",
        title="CPC",
        script="cpc",
        build=lambda s: _builders("cpc").build_encoder(_sizes(s), s["cpc"]["code"]),
        size="cpc",
        objective="predictive",
        pretraining=_predictive,
        sections=("cpc",),
    ),
    ModelSpec(
        name=BASELINE,
        title="CNN",
        script="denoise",
        build=lambda s: _builders("cnn").build_encoder(_sizes(s)),
    ),
    ModelSpec(
        name="model_over_mask",
        title="masked",
        script="denoise",
        build=_framewise,
        size="framewise",
        objective="masked",
        pretraining=_masked,
        sections=("mask", "framewise"),
    ),
    ModelSpec(
        name="model_cpc_nce",
        title="CPC-NCE",
        script="cpc",
        build=_framewise,
        size="framewise",
        objective="contrastive",
        pretraining=_infonce,
        sections=("nce", "framewise"),
    ),
    ModelSpec(name=PROBE, title="log-mel statistics", script="denoise", build=None),
):
    register(_model)


def spec(model: str) -> ModelSpec:
    """The record of a model by its name."""
    return _MODELS[model]


def names(script: str | None = None, *, pretrained: bool = False) -> tuple[str, ...]:
    """Names for -mod, baselines last: of all models, or only those of `script` ("denoise",
    "cpc") and, with `pretrained`, those that are pretrained."""
    models = [m for m in _MODELS.values() if script in (None, m.script)]
    models = [m for m in models if not (pretrained and m.baseline)]
    return tuple(m.name for m in sorted(models, key=lambda m: m.baseline))


def titles() -> dict[str, str]:
    """{name: title} of all models, in the order of tables."""
    return {model.name: model.title for model in _MODELS.values()}


def name_codes(name: str, title: str) -> None:
    """Set the title of codes from a file in tables and figures; models of the suite keep theirs.

    The title of other codes or of a model gets the name behind it, so that rows can be told apart.
    """
    others = [known for n, known in (_CODES | titles()).items() if n != name]
    _CODES[name] = f"{title} ({name})" if title in others else title


def title(model: str) -> str:
    """Title of a model, or of named codes from a file, in tables and figures, with the tag of its
    runs ("model_cpc_nce.aug")."""
    name, _, tag = model.partition(".")
    return (_CODES | titles()).get(name, name) + (f", {tag}" if tag else "")
