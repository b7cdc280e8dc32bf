"""The encoders of the suite: all that it knows of each, in one record. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.configuration import Settings

if TYPE_CHECKING:
    import keras

Statistics = Callable[[], tuple[float, float]]  # mean and standard deviation of the training data


@dataclass(frozen=True)
class ModelSpec:
    """An encoder.

    name        : of -mod and of run directories
    title       : in tables and figures
    script      : "denoise" or "cpc": pretrain_<script>.py and trans_train_<script>_multi.py
    build       : settings -> encoder with random weights, (batch, n_mels, window_frames, 1) ->
                  (batch, d); None: no network, a support vector machine on log-mel statistics
    size        : section of the settings that tells its size, beside `network`
    objective   : of its pretraining (lib.pretraining); None: it is trained from scratch on music
    pretraining : (settings, statistics) -> the model that is pretrained, and the encoder in it
    sections    : of the settings that pretraining takes, beside those that all share
    """

    name: str
    title: str
    script: str
    build: Callable[[Settings], keras.Model] | None
    size: str = "network"
    objective: str | None = None
    pretraining: Callable[[Settings, Statistics], tuple[keras.Model, keras.Model]] | None = None
    sections: tuple[str, ...] = ()

    @property
    def baseline(self) -> bool:
        """Whether it learns from music alone."""
        return self.objective is None

    @property
    def probe(self) -> bool:
        """Whether it is a support vector machine instead of a network."""
        return self.build is None


def _window(settings: Settings) -> dict:
    """The size of a window, as builders call it."""
    features = settings["features"]
    return {"n_mels": features["n_mels"], "frames": features["window_frames"]}


def _light(settings: Settings) -> dict:
    """What the light encoders are built with."""
    return {**settings["framewise"], "dropout": settings["network"]["dropout"]}


def _scae(settings: Settings) -> keras.Model:
    from lib.models import scae

    return scae.build_encoder(**_window(settings), **settings["network"])


def _denoiser(settings: Settings, statistics: Statistics) -> tuple[keras.Model, keras.Model]:
    from lib.models import scae

    start = {}
    if settings["scae"]["output_from_data"]:
        start = dict(zip(("output_mean", "output_scale"), statistics(), strict=True))
    return scae.build(**_window(settings), **settings["network"], **start)


def _cpc(settings: Settings) -> keras.Model:
    from lib.models import cpc

    return cpc.build_encoder(
        **_window(settings), **settings["network"], code=settings["cpc"]["code"]
    )


def _predictive(settings: Settings, statistics: Statistics) -> tuple[keras.Model, keras.Model]:
    from lib.models import cpc

    widths = {key: settings["cpc"][key] for key in ("past", "future", "code", "context")}
    return cpc.build(**_window(settings), **settings["network"], **widths)


def _cnn(settings: Settings) -> keras.Model:
    from lib.models import cnn

    return cnn.build_encoder(**_window(settings), **settings["network"])


def _framewise(settings: Settings) -> keras.Model:
    from lib.models import framewise_encoder

    return framewise_encoder.build_encoder(**_window(settings), **_light(settings))


def _masked(settings: Settings, statistics: Statistics) -> tuple[keras.Model, keras.Model]:
    from lib.models import masked_denoiser

    return masked_denoiser.build(**_window(settings), **_light(settings))


def _infonce(settings: Settings, statistics: Statistics) -> tuple[keras.Model, keras.Model]:
    from lib.models import cpc_infonce

    return cpc_infonce.build(**_window(settings), **settings["nce"], **_light(settings))


BASELINE, PROBE = "model_cnn", "model_svm"
_MODELS: dict[str, ModelSpec] = {}


def register(model: ModelSpec) -> None:
    """Add an encoder to the suite: scripts, transfer and tables know it from then on."""
    _MODELS[model.name] = model


for _model in (  # the first three as the paper calls them
    ModelSpec(
        name="model_over",
        title="SCAE",
        script="denoise",
        build=_scae,
        objective="denoising",
        pretraining=_denoiser,
        sections=("scae",),
    ),
    ModelSpec(
        name="model_cpc",
        title="CPC",
        script="cpc",
        build=_cpc,
        size="cpc",
        objective="predictive",
        pretraining=_predictive,
        sections=("cpc",),
    ),
    ModelSpec(name=BASELINE, title="CNN", script="denoise", build=_cnn),
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
    """The names of -mod: of a script ("denoise", "cpc"), or of all; baselines stand last.

    pretrained : only those that are pretrained
    """
    found = [m for m in _MODELS.values() if script in (None, m.script)]
    found = [m for m in found if not (pretrained and m.baseline)]
    return tuple(m.name for m in sorted(found, key=lambda m: m.baseline))


def titles() -> dict[str, str]:
    """{name: title} of all models, in the order of tables."""
    return {model.name: model.title for model in _MODELS.values()}


def title(model: str) -> str:
    """How tables and figures call a model, with the tag of its runs ("model_cpc_nce.aug")."""
    name, _, tag = model.partition(".")
    return titles().get(name, name) + (f", {tag}" if tag else "")
