"""The settings of a run: settings.py, checked line by line, and `--set`. Imports nothing heavy.

settings.py is edited by hand, so every line of it has a check here, by name.
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
    """What a setting may be: its type, how that reads, and which values of it are legal."""

    kind: type
    told: str
    holds: Callable


def _whole(low: int, high: int = 10**9) -> Legal:
    return Legal(int, f"a whole number from {low} to {high}", lambda x: low <= x <= high)


def _one_of(*values: str) -> Legal:
    return Legal(str, " or ".join(values), lambda x: x in values)


TAG = r"(?!it_|folds_|artist_folds_|feat_ext|full|probe)[a-z]\w*"
_TAG = "a small letter, then letters, digits or _, and no name of a step (feat_ext, folds_…)"
POSITIVE = Legal(float, "a number above 0", lambda x: 0 < x < math.inf)
FROM_ZERO = Legal(float, "a number, 0 or above", lambda x: 0 <= x < math.inf)
SHARE = Legal(float, "a number above 0 and below 1", lambda x: 0 < x < 1)
SHARE_OR_ZERO = Legal(float, "a number from 0 to below 1", lambda x: 0 <= x < 1)
TO_ONE = Legal(float, "a number above 0, at most 1", lambda x: 0 < x <= 1)
SWITCH = Legal(bool, "True or False", lambda x: True)
SCHEDULE, KEEP = _one_of("plateau", "cosine"), _one_of("best", "last")
BANDS = Legal(  # the encoders pool mel bands by 64 in all
    int, "a multiple of 64, up to 1024", lambda x: 0 < x <= 1024 and x % 64 == 0
)
LEGAL = {
    "features.sample_rate": _whole(1, 192_000),
    "features.n_fft": _whole(2, 65_536),
    "features.win_length": _whole(2, 65_536),
    "features.hop_length": _whole(1, 65_536),
    "features.n_mels": BANDS,
    "features.window_frames": _whole(1, 10_000),
    "features.window_hop": _whole(1, 10_000),
    "dataset.speech_hours": FROM_ZERO,
    "dataset.music_hours": FROM_ZERO,
    "dataset.test": SHARE,
    "dataset.val": SHARE,
    "dataset.max_lost": SHARE_OR_ZERO,
    "dataset.max_cut": Legal(float, "a number from 0 to 1", lambda x: 0 <= x <= 1),
    "dataset.workers": _whole(0, 1024),
    "run.iterations": _whole(1),
    "run.first": _whole(0),
    "run.seed": _whole(0, 2**32 - 1),
    "run.tag": Legal(str, _TAG, lambda x: not x or re.fullmatch(TAG, x)),
    "scae.noise": FROM_ZERO,
    "scae.output_from_data": SWITCH,
    "cpc.past": _whole(1),
    "cpc.future": _whole(2),
    "cpc.code": _whole(1, 16_384),
    "cpc.context": _whole(1, 16_384),
    "cpc.negatives": _one_of("order", "elsewhere"),
    "framewise.latent": _whole(1, 16_384),
    "nce.stretch": _whole(8, 10_000),
    "nce.steps": _whole(1, 1000),
    "nce.context": _whole(1, 16_384),
    "mask.mel": _whole(1, 1024),
    "mask.frames": _whole(1, 10_000),
    "mask.share": SHARE,
    "mask.noise": FROM_ZERO,
    "network.dropout": SHARE_OR_ZERO,
    "network.momentum": SHARE,
    "heads.units": _whole(1, 16_384),
    "heads.shared": _whole(0, 100),
    "heads.own": _whole(0, 100),
    "heads.code_dropout": SHARE_OR_ZERO,
    "pretrain.epochs": _whole(1),
    "pretrain.batch_windows": _whole(1),
    "pretrain.learning_rate": POSITIVE,
    "pretrain.decay": FROM_ZERO,
    "pretrain.schedule": SCHEDULE,
    "pretrain.keep": KEEP,
    "transfer.epochs": _whole(1),
    "transfer.batch_windows": _whole(1),
    "transfer.learning_rate": POSITIVE,
    "transfer.decay": FROM_ZERO,
    "transfer.schedule": SCHEDULE,
    "transfer.keep": KEEP,
    "transfer.encoder_iteration": _whole(-1),
    "transfer.labels": TO_ONE,
    "release.epochs": _whole(1),
    "release.batch_windows": _whole(1),
    "release.learning_rate": POSITIVE,
    "release.decay": FROM_ZERO,
    "release.schedule": SCHEDULE,
    "release.keep": KEEP,
    "release.encoder_rate": TO_ONE,
    "augment.windows_per_epoch": _whole(0),
    "augment.mel_shift": _whole(0, 100),
    "augment.mel_masks": _whole(0, 100),
    "augment.mel_width": _whole(0, 1024),
    "augment.time_masks": _whole(0, 100),
    "augment.time_width": _whole(0, 10_000),
    "augment.smoothing": SHARE_OR_ZERO,
    "training.amsgrad": SWITCH,
    "training.epsilon": POSITIVE,
    "training.plateau_epochs": _whole(1),
    "training.plateau_factor": SHARE,
    "training.stop_epochs": _whole(1),
    "training.weight_decay": FROM_ZERO,
    "training.predict_windows": _whole(1),
    "training.predict_dtype": _one_of("float32", "bfloat16"),
    "training.xla": _one_of("auto", "on", "off"),
    "training.threads": _whole(0, 1024),
    "training.deterministic": SWITCH,
    "training.tensorboard": SWITCH,
    "training.checkpoint_seconds": FROM_ZERO,
    "training.memory_gb": FROM_ZERO,
    "training.codes_gb": FROM_ZERO,
}

# What was done before a setting existed, or is done since it is gone: inputs of a run or a data set
# that lack it count as having this.
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
    """The content of settings.py, with what it has for `model`, and the two paths under "paths".

    Raises UserError when the file cannot be read, or lacks or adds a line.
    """
    module = _module()
    sections = {name.split(".")[0]: None for name in LEGAL}
    settings = {name: copy.deepcopy(vars(module).get(name)) for name in sections}
    found = {f"{s}.{k}" for s, keys in settings.items() if isinstance(keys, dict) for k in keys}
    for what, names in (("lacks", set(LEGAL) - found), ("does not know", found - set(LEGAL))):
        if names:
            raise UserError(f"settings.py {what} {', '.join(sorted(names))}: undo the last edit")
    _apply_recipe(settings, vars(module).get("models"), model)
    settings["paths"] = {
        "data": _path(module, "path_to_data"),
        "models": str(models_folder()),
    }
    return settings


def models_folder() -> Path:
    """Where models/, models_trans/ and results/ are: path_to_models, by default the suite's own."""
    return Path(_path(_module(), "path_to_models") or ROOT).expanduser()


def _apply_recipe(settings: Settings, recipes: object, model: str | None) -> None:
    """Change `settings` to what `models` in settings.py says of a model."""
    shape = "models in settings.py must be {model name: {section.key: value}}"
    if not isinstance(recipes, dict) or not all(isinstance(r, dict) for r in recipes.values()):
        raise UserError(f"{shape}: undo the last edit")
    for name, recipe in recipes.items():
        for key, value in recipe.items():
            if key not in LEGAL:
                raise UserError(f"{shape}; {name} has {key!r}, which is no setting")
            _check(key, value)
            if name == model:
                section, short = key.split(".")
                settings[section][short] = value


def override(settings: Settings, item: str) -> None:
    """Apply one `--set section.key=value` in place; UserError lists what is legal."""
    name, equals, text = (part.strip() for part in item.partition("="))
    if not equals or name not in LEGAL:
        legal = "\n  ".join(f"{key}={_get(settings, key)}" for key in LEGAL)
        raise UserError(f"--set {item}: expected section.key=value with one of\n  {legal}")
    section, key = name.split(".")
    settings[section][key] = value = typed(name, text)
    _check(name, value)


def typed(name: str, text: str) -> object:
    """The value of a setting as `--set` has it, in the setting's type; the text where it is none.

    name : "section.key"; a setting that is not known (any more) keeps its text
    """
    kind = LEGAL[name].kind if name in LEGAL else str
    try:
        return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        return text


def check(settings: Settings) -> None:
    """Raise UserError, naming the first setting that is not legal."""
    for name in LEGAL:
        _check(name, _get(settings, name))
    check_features(settings["features"])
    first, iterations = settings["run"]["first"], settings["run"]["iterations"]
    if first >= iterations:
        raise UserError(
            f"run.first is {first} of {iterations} iterations: --iterations {first + 1} or more "
            f"does it_{first} and what follows"
        )


def iterations(settings: Settings) -> range:
    """The numbers of the runs that are asked for: it_<first> … it_<iterations - 1>."""
    return range(settings["run"]["first"], settings["run"]["iterations"])


def check_features(features: dict) -> None:
    """Raise UserError, naming the first feature setting that is not legal."""
    for key, value in features.items():
        _check(f"features.{key}", value)
    if features["win_length"] > features["n_fft"]:
        raise UserError("features.win_length is longer than features.n_fft: it must fit inside")


def _check(name: str, value: object) -> None:
    legal = LEGAL[name]
    kinds = (int, float) if legal.kind is float else legal.kind
    fits = isinstance(value, kinds) and (legal.kind is bool or not isinstance(value, bool))
    if not fits or not legal.holds(value):
        raise UserError(f"{name} is {value!r}; it must be {legal.told} (see settings.py)")


def _get(settings: Settings, name: str) -> object:
    section, key = name.split(".")
    return settings[section][key]


def _module() -> ModuleType:
    try:
        return importlib.import_module("settings")
    except Exception as error:
        raise UserError(
            f"settings.py cannot be read ({type(error).__name__}: {error}): undo the last edit"
        ) from error


def _path(module: ModuleType, name: str) -> str:
    value = vars(module).get(name)
    if not isinstance(value, (str, Path)):
        raise UserError(f'settings.py: {name} must be a folder in quotes, or ""')
    return str(value)
