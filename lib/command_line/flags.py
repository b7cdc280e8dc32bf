"""Define the flags that scripts share, and read settings from them. Imports nothing heavy."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from lib import configuration
from lib.configuration import Settings
from lib.console import say
from lib.errors import UserError
from lib.labels import CODES, LANGUAGES, SOURCES

SET = "override a line of settings.py for this run; may be repeated"


def plain_parser(docstring: str | None) -> argparse.ArgumentParser:
    """A parser without flags; `docstring` becomes the help text, unchanged."""
    return argparse.ArgumentParser(
        description=docstring,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def parser(docstring: str | None) -> argparse.ArgumentParser:
    """A parser with the flags that every stage takes."""
    p = plain_parser(docstring)
    p.add_argument("--overwrite", action="store_true", help="replace existing results")
    p.add_argument("--seed", type=at_least(0), metavar="N", help="seed of random draws (0, 1, …)")
    p.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help=SET)
    return p


def language_flag(
    p: argparse.ArgumentParser, *names: str, legal: str, of: str, required: bool = True
) -> None:
    """Add a flag for a language; `legal` holds its letters, for example "emx"."""
    meaning = ", ".join(f"{letter} = {SOURCES[letter]}" for letter in legal)
    p.add_argument(
        *names, required=required, choices=tuple(legal), help=f"language of {of}: {meaning}"
    )


def source_flag(p: argparse.ArgumentParser, *names: str, legal: str) -> None:
    """Add the flag for the source of an encoder: one of the letters `legal`, or codes. Codes become
    a list of files and names, as for `codes_file`."""
    letters = ", ".join(f"{letter} = {SOURCES[letter]}" for letter in legal)

    def source(text: str) -> str | list[str]:
        if len(text) == 1 and text in legal:
            return text
        return codes(text, f"{', '.join(legal)}, ")

    meaning = f"pretraining data of the encoder: {letters}; or codes of any encoder: FILE{CODES}, "
    meaning += "or the name of codes that embed.py made; join several with +"
    p.add_argument(*names, required=True, type=source, metavar="SOURCE", help=meaning)


def codes(text: str, others: str = "") -> list[str]:
    """The type of a flag that takes codes: their files and names, as for `codes_file`.

    others : other legal values, for the error message
    """
    parts = text.split("+")
    if all(part.endswith(CODES) or re.fullmatch(r"\w\w+", part) for part in parts):
        return parts
    if text.endswith(CODES):  # a path with + in it
        return [stem + CODES for stem in text.removesuffix(CODES).split(f"{CODES}+")]
    raise argparse.ArgumentTypeError(
        f"invalid choice: {text!r} (choose from {others}FILE{CODES}, or the name of codes that "
        "embed.py made; join several with +)"
    )


def codes_folder(settings: Settings, kind: str, language: str) -> Path:
    """The folder where embed.py writes the codes of a corpus; `kind` is "speech" or "music"."""
    return data_folder(settings) / "codes" / kind / LANGUAGES[language]


def codes_file(settings: Settings, music: str, named: str) -> Path:
    """The codes file for a path, or for the name of codes of the music `music`.

    Raises UserError, which lists the existing names, when embed.py made no codes of this name.
    """
    if named.endswith(CODES):
        return Path(named)
    folder = codes_folder(settings, "music", music)
    path = folder / f"{named}{CODES}"
    if not path.is_file():
        there = ", ".join(sorted(path.stem for path in folder.glob(f"*{CODES}"))) or "none"
        raise UserError(
            f"{named}: no codes of that name in {folder} (found: {there}); make them with\n"
            f"  python3 embed.py -d m -l {music} --with ENCODER\n"
            f"or give a file that ends in {CODES}"
        )
    return path


def settings_from(args: argparse.Namespace, epochs: tuple[str, ...] = ()) -> Settings:
    """The settings of a run: settings.py, then `--set`, then the flags.

    `epochs` names the sections that `--epochs` changes. Returns {section: {key: value}} with
    the two paths under "paths". Raises UserError for unknown keys and illegal values.
    """
    settings = configuration.load(getattr(args, "model", None))
    for item in args.set:
        configuration.override(settings, item)
    for key in ("iterations", "seed", "tag"):
        if getattr(args, key, None) is not None:
            settings["run"][key] = getattr(args, key)
    for key in ("deterministic", "tensorboard"):
        if getattr(args, key, False):
            settings["training"][key] = True
    if getattr(args, "epochs", None) is not None:
        for section in epochs:
            settings[section]["epochs"] = args.epochs
    configuration.check(settings)
    return settings


def tell_recipe(args: argparse.Namespace, settings: Settings, sections: Iterable[str]) -> None:
    """Print which lines of these sections in settings.py the model's own settings override. Values
    from `--set` and flags take precedence, and are not printed."""
    plain, recipe = configuration.load(), configuration.load(args.model)
    given = {item.partition("=")[0].strip() for item in args.set}
    lines = [
        f"{section}.{key}={value}"
        for section in sections
        for key, value in recipe[section].items()
        if settings[section][key] == value != plain[section][key]
        and f"{section}.{key}" not in given
    ]
    if lines:
        say(
            f"{args.model} has its own settings (in settings.py, under models), which override the "
            f"sections of settings.py: {', '.join(lines)}; change them with --set"
        )


def data_folder(settings: Settings) -> Path:
    """`path_to_data` as an existing folder; UserError otherwise."""
    path = settings["paths"]["data"]
    advice = "set path_to_data at the top of settings.py, or export MER_PATH_TO_DATA"
    if not path:
        raise UserError(f"path_to_data is not set: {advice} to the folder that holds the corpora")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"path_to_data is {folder}, which is not a folder: {advice}")
    return folder


def dataset_folder(settings: Settings, kind: str, language: str) -> Path:
    """The folder of a data set below path_to_data; `kind` is "speech" or "music"."""
    return data_folder(settings) / "features" / kind / LANGUAGES[language]


def at_least(low: int) -> Callable[[str], int]:
    """The type of a flag that takes a whole number of at least `low`."""
    return _within(int, low, math.inf, f"a whole number of at least {low}")


def number(low: float, high: float) -> Callable[[str], float]:
    """The type of a flag that takes a number from `low` to `high`."""
    return _within(float, low, high, f"a number from {low:g} to {high:g}")


def _within(kind: type, low: float, high: float, legal: str) -> Callable:
    def checked(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not {legal}")
        return value

    return checked
