"""Use a function of the user as an encoder: (samples float32 (n,), rate in Hz) -> codes (m, d)."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from lib.artefacts import files
from lib.configuration import Settings
from lib.datasets.codes_file import About
from lib.embedding.encoder import Encoder, name_from, title_from
from lib.errors import UserError
from lib.features.audio_decoding import Sound


def encoder(text: str, settings: Settings) -> Encoder:
    """text : "package.module:function"; the current folder is also searched for modules.

    Raises UserError when there is no such function.
    """
    function, source = _find(text)
    rate = settings["features"]["sample_rate"]

    def encode(sound: Sound) -> Iterator[np.ndarray]:
        samples = np.concatenate(list(sound.blocks()))
        try:
            result = function(samples, rate)
            codes = np.asarray(result)
        except Exception as error:
            raise UserError(f"{text} failed: {type(error).__name__}: {error}") from error
        real = np.can_cast(codes.dtype, np.float32, casting="same_kind")
        if codes.ndim != 2 or 0 in codes.shape or not real:
            raise UserError(
                f"{text} returned {type(result).__name__} of shape {codes.shape}, {codes.dtype}: "
                "expected an array (n, d) of real numbers, with n = 1 for one code per recording"
            )
        yield codes.astype(np.float32)

    about = About(
        name=name_from(text),
        title=title_from(text),
        encoder_version=f"SHA-256 {files.file_hash(source)}",
        licence="not stated",
        description=f"codes of {text}",
        per="window",
    )
    return Encoder(about, rate, lambda: encode)


def _find(text: str) -> tuple[Callable, Path]:
    """Return the function and the file of its module."""
    module_name, _, name = text.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError, TypeError) as error:
        raise UserError(f"--with {text}: {error}; expected package.module:function") from error
    function = getattr(module, name, None)
    if not callable(function) or not getattr(module, "__file__", None):
        raise UserError(
            f"--with {text}: {module_name} has no function {name!a}: expected "
            "package.module:function"
        )
    return function, Path(module.__file__)
