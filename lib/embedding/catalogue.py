"""The encoders that --with names. Imports nothing heavy.

To add one: a module in encoders/ with a function (text behind the colon, settings) -> Encoder, and
a record here.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from lib.configuration import Settings
from lib.embedding.encoder import Encoder
from lib.embedding.encoders import (
    musicnn_tags,
    opensmile_functionals,
    own_function,
    resemblyzer_voices,
    suite_run,
    transformers_folder,
)
from lib.errors import UserError

PACKAGES = "pip install -r requirements/encoders.txt"
WEIGHTS = "pip install --no-deps -r requirements/encoder_weights.txt"


@dataclass(frozen=True)
class Family:
    """Encoders of one package or kind.

    usage    : what --with may be
    encoder  : (text behind the colon, "" without one; settings) -> Encoder
    packages : that it needs beside those of requirements.txt, by the names of their imports
    install  : the lines that install them
    """

    usage: str
    encoder: Callable[[str, Settings], Encoder]
    packages: tuple[str, ...] = ()
    install: str = PACKAGES


FAMILIES = {
    "opensmile": Family(
        "opensmile:ComParE_2016, opensmile:eGeMAPSv02",
        opensmile_functionals.encoder,
        packages=("opensmile",),
    ),
    "resemblyzer": Family(
        "resemblyzer",
        resemblyzer_voices.encoder,
        packages=("resemblyzer", "torch"),
        install=f"{PACKAGES} && {WEIGHTS}",
    ),
    "musicnn": Family(
        "musicnn (both of musicnn:MTT, musicnn:MSD)",
        musicnn_tags.encoder,
        packages=("musicnn",),
        install=WEIGHTS,
    ),
    "run": Family("run:models/speech/english/model_cpc.it_0", suite_run.encoder),
    "hub": Family(
        "hub:FOLDER", transformers_folder.encoder, packages=("transformers", "torch", "safetensors")
    ),
}
OWN = "package.module:function"


def find(text: str, settings: Settings) -> Encoder:
    """The encoder that --with names.

    Raises UserError when there is none of that name, or what it needs is not there.
    """
    kind, _, argument = text.partition(":")
    family = FAMILIES.get(kind)
    if family is None and argument:
        return own_function.encoder(text, settings)
    if family is None:
        usages = ", ".join(family.usage for family in FAMILIES.values())
        raise UserError(f"there is no encoder {text!a}: expected one of {usages}, {OWN}")
    # find_spec does not import: musicnn and Resemblyzer cannot be imported beside new packages
    missing = [name for name in family.packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"--with {text} needs {' and '.join(missing)}, not installed here: {family.install}"
        )
    return family.encoder(argument, settings)
