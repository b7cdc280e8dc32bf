"""Read and check settings.py, and apply `--set`. Imports nothing heavy.

settings.py is edited by hand. A line that is missing, misspelt or has a wrong value is reported by
name. For this, all settings are listed here too, with their legal values.
"""

from __future__ import annotations

import copy
import importlib
import math
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from lib.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
Settings = dict[str, dict]  # {section: {key: value}}, and "paths"


class Legal(NamedTuple):
    """What a setting may be: its type, a description of its values, and a test of them."""

    kind: type
    words: str
    holds: Callable


def _whole(low: int, high: int = 10**9) -> Legal:
    return Legal(int, f"a whole number from {low} to {high}", lambda x: low <= x <= high)


def _one_of(*values: str) -> Legal:
    return Legal(str, " or ".join(values), lambda x: x in values)


TAG = r"(?!it_|folds_|artist_folds_|feat_ext|full|probe)[a-z]\w*"
_TAG = "a lower-case letter, then letters, digits or _, not beginning as other parts of a run's "
_TAG += "name do (it_, folds_, artist_folds_, feat_ext, full, probe)"
LEGAL_VALUES = {  # legal values: the settings that have them
    _whole(-1): "transfer.encoder_iteration",
    _whole(0): "run.first augment.windows_per_epoch",
    _whole(0, 100): """
        heads.shared heads.own augment.mel_shift augment.mel_masks augment.time_masks""",
    _whole(0, 1024): "dataset.workers augment.mel_width training.threads",
    _whole(0, 10_000): "augment.time_width",
    _whole(0, 2**32 - 1): "run.seed",
    _whole(1): """
        run.iterations cpc.past pretrain.epochs transfer.epochs release.epochs
        pretrain.batch_windows transfer.batch_windows release.batch_windows
        training.plateau_epochs training.stop_epochs training.predict_windows""",
    _whole(1, 1000): "nce.steps",
    _whole(1, 1024): "mask.mel network.maps",
    _whole(1, 10_000): "features.window_frames features.window_hop mask.frames",
    _whole(1, 16_384): """
        cpc.code cpc.context framewise.latent nce.context heads.units teacher.dimensions""",
    _whole(1, 65_536): "features.hop_length",
    _whole(1, 192_000): "features.sample_rate",
    _whole(2): "cpc.future",
    _whole(2, 65_536): "features.n_fft features.win_length",
    _whole(8, 10_000): "nce.stretch",
    # the encoders pool mel bands by 64 in all
    Legal(int, "a multiple of 64, up to 1024", lambda x: x in range(64, 1025, 64)): """
        features.n_mels""",
    Legal(float, "a number, 0 or above", lambda x: 0 <= x < math.inf): """
        dataset.speech_hours dataset.music_hours scae.noise mask.noise pretrain.decay
        transfer.decay release.decay training.weight_decay training.checkpoint_seconds
        training.memory_gb training.codes_gb""",
    Legal(float, "a number above 0", lambda x: 0 < x < math.inf): """
        pretrain.learning_rate transfer.learning_rate release.learning_rate training.epsilon
        teacher.weight""",
    Legal(float, "a number above 0 and below 1", lambda x: 0 < x < 1): """
        dataset.test dataset.val mask.share network.momentum training.plateau_factor""",
    Legal(float, "a number from 0 to below 1", lambda x: 0 <= x < 1): """
        dataset.max_lost network.dropout heads.code_dropout augment.smoothing""",
    Legal(float, "a number from 0 to 1", lambda x: 0 <= x <= 1): "dataset.max_cut",
    Legal(float, "a number above 0, at most 1", lambda x: 0 < x <= 1): """
        transfer.labels release.encoder_rate""",
    Legal(bool, "True or False", lambda x: True): """
        scae.output_from_data training.amsgrad training.deterministic training.tensorboard
        run.onnx run.figures""",
    Legal(str, _TAG, lambda x: not x or re.fullmatch(TAG, x)): "run.tag",
    _one_of("order", "elsewhere"): "cpc.negatives",
    _one_of("plateau", "cosine"): "pretrain.schedule transfer.schedule release.schedule",
    _one_of("best", "last"): "pretrain.keep transfer.keep release.keep",
    _one_of("float32", "bfloat16"): "training.predict_dtype",
    _one_of("auto", "on", "off"): "training.xla",
}
LEGAL = {name: legal for legal, names in LEGAL_VALUES.items() for name in names.split()}

# Values of settings that a run or data set does not record, because it is older than the setting or
# the setting was removed.
BEFORE = {
    "augment.windows_per_epoch": 0,
    "augment.equalise": 0.0,
    "augment.mel_shift": 0,
    "augment.mel_masks": 0,
    "augment.mel_width": 24,
    "augment.time_masks": 0,
    "augment.time_width": 8,
    "augment.mixup": 0.0,
    "augment.smoothing": 0.0,
    "heads.shared": 3,
    "heads.own": 2,
    "heads.code_dropout": 0.0,
    "heads.attention": 0,
    "network.maps": 32,
    "pretrain.schedule": "plateau",
    "pretrain.keep": "best",
    "transfer.schedule": "plateau",
    "transfer.keep": "best",
    "transfer.labels": 1.0,
    "release.schedule": "plateau",
    "release.keep": "best",
    "release.encoder_rate": 1.0,
    "training.weight_decay": 0.0,
    "training.predict_dtype": "float32",
    # not settings, but inputs of runs and of data sets
    "labels": 1.0,
    "folds": 0,
    "min_agreement": 0.0,
}


def load(model: str | None = None) -> Settings:
    """The content of settings.py, with its recipe for `model`, and the two paths under "paths".

    Raises UserError when the file cannot be read, lacks a setting or has an unknown one.
    """
    module = _module()
    sections = {name.split(".")[0] for name in LEGAL}
    settings = {
        name: copy.deepcopy(vars(module)[name]) for name in vars(module) if name in sections
    }
    names = _by_name(settings).keys()
    for verb, wrong in (("lacks", LEGAL.keys() - names), ("does not know", names - LEGAL.keys())):
        if wrong:
            raise UserError(f"settings.py {verb} {', '.join(sorted(wrong))}: undo the last edit")
    _apply_recipe(settings, vars(module).get("models"), model)
    settings["paths"] = {"data": _path("path_to_data"), "models": str(models_folder())}
    return settings


def models_folder() -> Path:
    """The folder of models/, models_trans/ and results/: path_to_models, by default the suite's."""
    return Path(_path("path_to_models") or ROOT).expanduser()


def _apply_recipe(settings: Settings, recipes: object, model: str | None) -> None:
    """Apply the recipe that `models` in settings.py has for a model, in place."""
    shape = "models in settings.py must be {model name: {section.key: value}}"
    if not isinstance(recipes, dict) or not all(isinstance(r, dict) for r in recipes.values()):
        raise UserError(f"{shape}: undo the last edit")
    for name, recipe in recipes.items():
        for key, value in recipe.items():
            if key not in LEGAL:
                raise UserError(f"{shape}; {name} has {key!r}, which is not a setting")
            _check(key, value)
            if name == model:
                section, short = key.split(".")
                settings[section][short] = value


def override(settings: Settings, item: str) -> None:
    """Apply one `--set section.key=value` in place; UserError lists the legal names."""
    name, equals, text = (part.strip() for part in item.partition("="))
    if not equals or name not in LEGAL:
        legal = "\n  ".join(f"{key}={value}" for key, value in _by_name(settings).items())
        raise UserError(f"--set {item}: expected section.key=value with one of\n  {legal}")
    section, key = name.split(".")
    settings[section][key] = typed(name, text)
    _check(name, settings[section][key])


def typed(name: str, text: str) -> object:
    """The text of `--set` converted to the type of the setting; the text itself if that fails.

    name : "section.key"; an unknown (or removed) setting keeps its text
    """
    kind = LEGAL[name].kind if name in LEGAL else str
    try:
        return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        return text


def check(settings: Settings) -> None:
    """Raise UserError for the first setting whose value is not legal."""
    for name, value in _by_name(settings).items():
        _check(name, value)
    check_features(settings["features"])
    first, iterations = settings["run"]["first"], settings["run"]["iterations"]
    if first >= iterations:
        raise UserError(
            f"run.first is {first}, but the last iteration is {iterations - 1}: use --iterations "
            f"{first + 1} or more"
        )


def iterations(settings: Settings) -> range:
    """The numbers of the requested runs: it_<first> … it_<iterations - 1>."""
    return range(settings["run"]["first"], settings["run"]["iterations"])


def check_features(features: dict) -> None:
    """Raise UserError for the first feature setting whose value is not legal."""
    for key, value in features.items():
        _check(f"features.{key}", value)
    if features["win_length"] > features["n_fft"]:
        raise UserError("features.win_length is longer than features.n_fft: it must fit inside")


def _check(name: str, value: object) -> None:
    kind, words, holds = LEGAL[name]
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or isinstance(value, bool) != (kind is bool) or not holds(value):
        raise UserError(f"{name} is {value!r}; it must be {words} (see settings.py)")


def _by_name(settings: Settings) -> dict[str, object]:
    """{section.key: value} of all settings, in the order of settings.py."""
    sections = {name: keys for name, keys in settings.items() if isinstance(keys, dict)}
    sections.pop("paths", None)
    return {f"{name}.{key}": keys[key] for name, keys in sections.items() for key in keys}


def _module() -> ModuleType:
    try:
        return importlib.import_module("settings")
    except Exception as error:
        raise UserError(
            f"settings.py cannot be read ({type(error).__name__}: {error}): undo the last edit"
        ) from error


def _path(name: str) -> str:
    value = vars(_module()).get(name)
    if not isinstance(value, (str, Path)):
        raise UserError(f'settings.py: {name} must be a folder in quotes, or ""')
    return str(value)
