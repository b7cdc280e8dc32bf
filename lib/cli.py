"""Shared flags, overrides of settings, and what is printed. Imports nothing heavy."""

from __future__ import annotations

import argparse
import copy
import importlib
import logging
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from lib.errors import UserError
from lib.registry import LANGUAGES

ROOT = Path(__file__).resolve().parent.parent

# Every setting and its type: settings.py is edited by hand, so what stands there is checked
_WHOLE = {
    "features": "sample_rate n_fft win_length hop_length n_mels window_frames window_hop",
    "dataset": "workers",
    "run": "iterations seed",
    "cpc": "past future code context",
    "heads": "units",
    "pretrain": "epochs batch_windows",
    "transfer": "epochs batch_windows encoder_iteration",
    "release": "epochs batch_windows",
    "training": "plateau_epochs stop_epochs predict_windows",
}
_NUMBER = {
    "dataset": "speech_hours music_hours test val max_lost",
    "scae": "noise",
    "network": "dropout momentum",
    "pretrain": "learning_rate decay",
    "transfer": "learning_rate decay",
    "release": "learning_rate decay",
    "training": "epsilon plateau_factor checkpoint_seconds",
}
_SWITCH = {"scae": "output_from_data", "training": "amsgrad xla"}
_CHOICE = {"cpc.negatives": ("order", "elsewhere")}
_TYPES: dict[str, type] = {
    f"{section}.{key}": kind
    for kind, table in ((int, _WHOLE), (float, _NUMBER), (bool, _SWITCH))
    for section, keys in table.items()
    for key in keys.split()
} | dict.fromkeys(_CHOICE, str)
_MAY_BE_ZERO = {
    *("dataset.speech_hours", "dataset.music_hours", "dataset.max_lost", "dataset.workers"),
    *("run.seed", "scae.noise", "network.dropout", "pretrain.decay", "transfer.decay"),
    *("release.decay", "training.checkpoint_seconds"),
}
_BELOW_ONE = {
    *("dataset.test", "dataset.val", "dataset.max_lost", "network.dropout", "network.momentum"),
    "training.plateau_factor",
}
_MULTIPLE_OF = {"features.n_mels": 64}  # the encoders pool mel bands by 64 in all
_AT_LEAST = {"transfer.encoder_iteration": -1, "cpc.future": 2, "cpc.past": 1}
_AT_MOST = {  # beyond, memory or the libraries give way
    "features.sample_rate": 192_000,
    "features.n_fft": 65_536,
    "features.n_mels": 1024,
    "dataset.workers": 1024,
    "run.seed": 2**32 - 1,
    "heads.units": 16_384,
    "cpc.code": 16_384,
    "cpc.context": 16_384,
}
_KINDS = {bool: "True or False", int: "a whole number", float: "a number"}

Settings = dict[str, dict]


def parser(docstring: str | None) -> argparse.ArgumentParser:
    """A parser with the flags that every stage takes; `docstring` becomes the help text."""
    p = argparse.ArgumentParser(
        description=docstring,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("--iterations", type=_at_least(1), metavar="N", help=_ITERATIONS)
    p.add_argument("--seed", type=_at_least(0), metavar="N", help="of every random draw (0, 1, …)")
    p.add_argument("--epochs", type=_at_least(1), metavar="N", help=_EPOCHS)
    p.add_argument("--overwrite", action="store_true", help="replace what stands there")
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="any line of settings.py, for this run; may be repeated",
    )
    return p


_ITERATIONS = "independent runs it_0 … it_N-1 (1, 2, …; the paper averages 4)"
_EPOCHS = "at most so many epochs (1, 2, …)"


def language_flag(p: argparse.ArgumentParser, *names: str, legal: str, of: str) -> None:
    """Add a required flag for a language; `legal` holds its letters, for example "emx"."""
    meaning = ", ".join(f"{letter} = {LANGUAGES[letter]}" for letter in legal)
    p.add_argument(*names, required=True, choices=tuple(legal), help=f"language of {of}: {meaning}")


def settings_from(args: argparse.Namespace, epochs: tuple[str, ...] = ()) -> Settings:
    """The settings of a run: settings.py, then `--set`, then the flags.

    `epochs` names the sections that `--epochs` speaks of. Returns {section: {key: value}} with
    the two paths under "paths". Raises UserError for unknown keys and illegal values.
    """
    module = _load()
    settings: Settings = {
        name: copy.deepcopy(value)
        for name, value in vars(module).items()
        if isinstance(value, dict) and not name.startswith("_")
    }
    for item in args.set:
        _apply(settings, item)
    for key in ("iterations", "seed"):
        if getattr(args, key) is not None:
            settings["run"][key] = getattr(args, key)
    if args.epochs is not None:
        for section in epochs:
            settings[section]["epochs"] = args.epochs
    for name in _TYPES:
        section, key = name.split(".")
        _check(name, settings[section][key])
    if settings["features"]["win_length"] > settings["features"]["n_fft"]:
        raise UserError("features.win_length is longer than features.n_fft: it must fit inside")
    settings["paths"] = {"data": str(module.path_to_data), "models": str(models_folder())}
    return settings


def models_folder() -> Path:
    """Where models/, models_trans/ and results/ are: path_to_models, by default the suite's own."""
    return Path(_load().path_to_models or ROOT).expanduser()


def data_folder(settings: Settings) -> Path:
    """`path_to_data` as an existing folder; UserError otherwise."""
    where = settings["paths"]["data"]
    how = "set path_to_data at the top of settings.py, or export MER_PATH_TO_DATA"
    if not where:
        raise UserError(f"path_to_data is not set: {how} to the folder that holds the corpora")
    folder = Path(where).expanduser()
    if not folder.is_dir():
        raise UserError(f"path_to_data is {folder}, which is not a folder: {how}")
    return folder


def dataset_folder(settings: Settings, kind: str, language: str) -> Path:
    """The folder of a data set below path_to_data; `kind` is "speech" or "music"."""
    return data_folder(settings) / "features" / kind / LANGUAGES[language]


def say(*lines: str) -> None:
    """Print lines at once, so that logs of long runs can be followed."""
    print(*lines, sep="\n", flush=True)


def import_keras() -> None:
    """Import Keras and its backend without the start-up notices of the native libraries.

    They are written to the file descriptor itself, so it is turned aside while importing; if the
    import fails, they are shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    sys.stderr.flush()
    with tempfile.TemporaryFile() as notices:
        stderr = os.dup(2)
        os.dup2(notices.fileno(), 2)
        try:
            importlib.import_module("keras")
        except Exception:
            notices.seek(0)
            os.write(stderr, notices.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _load() -> ModuleType:
    try:
        module = importlib.import_module("settings")
    except Exception as error:
        raise UserError(
            f"settings.py cannot be read ({type(error).__name__}: {error}): undo the last edit"
        ) from error
    sections = {name: vars(module).get(name) for name in {n.split(".")[0] for n in _TYPES}}
    found = {f"{s}.{k}" for s, keys in sections.items() if isinstance(keys, dict) for k in keys}
    for what, names in (("lacks", set(_TYPES) - found), ("does not know", found - set(_TYPES))):
        if names:
            raise UserError(f"settings.py {what} {', '.join(sorted(names))}: undo the last edit")
    for path in ("path_to_data", "path_to_models"):
        if not isinstance(vars(module).get(path), (str, Path)):
            raise UserError(f'settings.py: {path} must be a folder in quotes, or ""')
    return module


def _apply(settings: Settings, item: str) -> None:
    name, equals, text = item.partition("=")
    section, _, key = name.strip().partition(".")
    if not equals or key not in settings.get(section, {}):
        legal = "\n  ".join(f"{s}.{k}={v}" for s, keys in settings.items() for k, v in keys.items())
        raise UserError(f"--set {item}: expected section.key=value with one of\n  {legal}")
    kind = _TYPES[f"{section}.{key}"]
    try:
        settings[section][key] = _parse(text.strip(), kind)
    except ValueError:
        raise UserError(
            f"--set {item}: {text!r} is not {_KINDS[kind]} "
            f"(settings.py has {settings[section][key]})"
        ) from None


def _parse(text: str, kind: type) -> object:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    return kind(text)


def _check(name: str, value: object) -> None:
    kind = _TYPES[name]
    if name in _CHOICE:
        if value not in _CHOICE[name]:
            raise UserError(f"{name} is {value!r}; legal are {', '.join(_CHOICE[name])}")
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
    if not {bool: isinstance(value, bool), int: number and isinstance(value, int)}.get(
        kind, number
    ):
        raise UserError(f"{name} is {value!r}, which is not {_KINDS[kind]}: see settings.py")
    if kind is bool:
        return
    low = _AT_LEAST.get(name, 0)
    if value < low or (value == 0 and name not in _MAY_BE_ZERO | set(_AT_LEAST)):
        least = f"at least {low}" if name in _AT_LEAST else "above 0"
        least = "0 or above" if name in _MAY_BE_ZERO else least
        raise UserError(f"{name} is {value}; it must be {least}")
    multiple = _MULTIPLE_OF.get(name)
    if multiple and value % multiple:
        raise UserError(f"{name} is {value}; it must be a multiple of {multiple}")
    if value > _AT_MOST.get(name, value):
        raise UserError(f"{name} is {value}; it must be at most {_AT_MOST[name]}")
    if value == float("inf") or (name in _BELOW_ONE and value >= 1):
        raise UserError(f"{name} is {value}; it must be below {1 if name in _BELOW_ONE else 'inf'}")


def _at_least(low: int):
    def whole(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {low}")
        return value

    return whole
