"""Shared flags and what is printed. Imports nothing heavy."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import logging
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TextIO

from lib import config
from lib.config import Settings
from lib.errors import UserError, printable
from lib.registry import LANGUAGES, SOURCES


def parser(docstring: str | None) -> argparse.ArgumentParser:
    """A parser with the flags that every stage takes; `docstring` becomes the help text."""
    p = argparse.ArgumentParser(
        description=docstring,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("--iterations", type=at_least(1), metavar="N", help=_ITERATIONS)
    p.add_argument("--overwrite", action="store_true", help="replace what stands there")
    p.add_argument("--seed", type=at_least(0), metavar="N", help="of every random draw (0, 1, …)")
    p.add_argument("--epochs", type=at_least(1), metavar="N", help=_EPOCHS)
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


def language_flag(
    p: argparse.ArgumentParser, *names: str, legal: str, of: str, required: bool = True
) -> None:
    """Add a flag for a language; `legal` holds its letters, for example "emx"."""
    meaning = ", ".join(f"{letter} = {SOURCES[letter]}" for letter in legal)
    p.add_argument(
        *names, required=required, choices=tuple(legal), help=f"language of {of}: {meaning}"
    )


def settings_from(args: argparse.Namespace, epochs: tuple[str, ...] = ()) -> Settings:
    """The settings of a run: settings.py, then `--set`, then the flags.

    `epochs` names the sections that `--epochs` speaks of. Returns {section: {key: value}} with
    the two paths under "paths". Raises UserError for unknown keys and illegal values.
    """
    settings = config.load(getattr(args, "model", None))
    for item in args.set:
        config.override(settings, item)
    for key in ("iterations", "seed", "tag"):
        if getattr(args, key, None) is not None:
            settings["run"][key] = getattr(args, key)
    for key in ("deterministic", "tensorboard"):
        if getattr(args, key, False):
            settings["training"][key] = True
    if args.epochs is not None:
        for section in epochs:
            settings[section]["epochs"] = args.epochs
    config.check(settings)
    return settings


def tell_recipe(args: argparse.Namespace, settings: Settings, sections: Iterable[str]) -> None:
    """Say which lines of these sections in settings.py do not count, since the model that is asked
    for has values of its own there; `--set` and flags count, and are not named."""
    plain, own = config.load(), config.load(args.model)
    given = {item.partition("=")[0].strip() for item in args.set}
    names = [(section, key) for section in sections for key in plain[section]]
    told = [
        f"{section}.{key}={settings[section][key]}"
        for section, key in names
        if settings[section][key] == own[section][key] != plain[section][key]
        and f"{section}.{key}" not in given
    ]
    if told:
        say(
            f"{args.model} has settings of its own, which count before the sections of settings.py "
            f"(there under models): {', '.join(told)}; --set changes them"
        )


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
    print(*map(printable, lines), sep="\n", flush=True)


def import_keras() -> None:
    """Import Keras and its backend without the start-up notices of the native libraries."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow leaves its fast CPU kernels off where there is no AVX-512
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with native_messages_aside():
        _import_backend()
        with contextlib.suppress(ImportError):
            # on any backend Keras imports it, where it is installed, to seed it too
            importlib.import_module("tensorflow")


BACKENDS = {"tensorflow": "requirements.txt", "jax": "requirements/jax.txt"}
BACKENDS |= {"torch": "requirements/torch.txt"}


def _import_backend() -> None:
    """Import Keras with the backend of KERAS_BACKEND and the number format of this suite, whatever
    the user's keras.json says; UserError when that cannot be."""
    backend = os.environ["KERAS_BACKEND"]  # lib/__init__.py sets it where nobody did
    if backend not in BACKENDS:
        raise UserError(
            f"KERAS_BACKEND is {backend!r}: it must be one of {', '.join(BACKENDS)}, or unset"
        )
    if importlib.util.find_spec(backend) is None:
        raise UserError(
            f"KERAS_BACKEND is {backend}, which is not installed: pip install -r "
            f"{BACKENDS[backend]}, or unset it"
        )
    try:
        keras = importlib.import_module("keras")
    except (AssertionError, AttributeError, TypeError, ValueError) as error:
        raise UserError(
            f"Keras cannot be imported ({str(error)[:120]}): mend its file keras.json, in "
            "~/.keras or where KERAS_HOME says, or remove it"
        ) from error
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_epsilon(1e-7)


@contextlib.contextmanager
def native_messages_aside() -> Iterator[TextIO]:
    """Turn aside what native libraries write to the file descriptor of standard error.

    Yields where Python's own messages go meanwhile, which are seen as ever. If the block fails with
    anything but a message to the user, what was turned aside is shown.
    """
    sys.stderr.flush()
    python_stderr, real = sys.stderr, os.dup(2)
    try:
        ours = python_stderr.fileno() == 2
    except (OSError, ValueError):  # replaced, as under a test
        ours = False
    with (
        tempfile.TemporaryFile() as notices,
        os.fdopen(os.dup(real), "w", buffering=1, errors="backslashreplace") as shown,
    ):
        os.dup2(notices.fileno(), 2)
        if ours:
            sys.stderr = shown
        try:
            yield sys.stderr
        except Exception as error:
            if not isinstance(error, (UserError, OSError)):
                notices.seek(0)
                os.write(real, notices.read())
            raise
        finally:
            sys.stderr.flush()
            sys.stderr = python_stderr
            os.dup2(real, 2)
            os.close(real)


def at_least(low: int) -> Callable[[str], int]:
    """The type of a flag that takes a whole number of at least `low`."""

    def whole(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {low}")
        return value

    return whole


def number(low: float, high: float) -> Callable[[str], float]:
    """The type of a flag that takes a number from `low` to `high`."""

    def checked(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low:g} to {high:g}")
        return value

    return checked
