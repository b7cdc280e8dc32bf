"""Run the pretraining scripts and the transfer scripts.

The two scripts of a stage differ only in their models. They share flags, settings and stage.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lib import keras_backend
from lib.command_line import flags
from lib.configuration import Settings
from lib.console import say
from lib.models import catalogue
from lib.transfer.transfer_plan import TransferPlan

if TYPE_CHECKING:
    from lib.datasets.folds import Folds

_MUSIC = "music to pretrain on, without its labels"
_PRETRAINING_FOLDS = "pretrain once per fold of the music, for a transfer with the same folds"
_FOLDS = "cross-validate with K folds of all clips instead of testing on the test split"
_ITERATIONS = "independent runs it_0 … it_N-1 (1, 2, …; the paper averages 4)"
_EPOCHS = "maximum number of epochs (1, 2, …)"
_RELEASE = "y = train the encoder too (Full), n = keep it frozen (Feat. Ext.)"
_NESTED = "(--folds) choose a recipe per fold on inner folds: FILE has one per line, as for --set"
_BY_ITSELF = "a probe needs no --nested: it always chooses its C within its training clips"
_TEACHER = "(-rel y) codes that the encoder learns to predict: FILE.codes, or a name, as for -s"
_PROBE = "(-rel n) a support vector machine on the encoder's codes instead of heads"


def pretraining(docstring: str, script: str, argv: list[str] | None) -> int:
    """Parse the flags of a pretraining script and run it; `script` as in ModelSpec."""
    p = flags.parser(docstring)
    source = p.add_mutually_exclusive_group(required=True)
    flags.language_flag(source, "-s", "--speech", legal="emx", of="the speech", required=False)
    flags.language_flag(source, "-m", "--music", legal="em", of=_MUSIC, required=False)
    _model_flags(p, catalogue.names(script, pretrained=True), "speech or music", _PRETRAINING_FOLDS)
    args = _parsed(p, argv)
    if args.folds and not args.music:
        p.error("--folds needs -m: speech is not divided into folds")
    settings = flags.settings_from(args, epochs=("pretrain",))
    flags.tell_recipe(args, settings, ("pretrain", "network", *catalogue.spec(args.model).sections))
    kind, language = ("music", args.music) if args.music else ("speech", args.speech)
    folder = args.path_load or flags.dataset_folder(settings, kind, language)
    folds = _folds(args)
    keras_backend.import_keras()

    from lib.pretraining.pretraining_stage import pretrain

    pretrain(args.model, (kind, language), settings, folder, folds=folds, overwrite=args.overwrite)
    return 0


def transfer(docstring: str, script: str, argv: list[str] | None) -> int:
    """Parse the flags of a transfer script and run it; `script` as in ModelSpec."""
    p = flags.parser(docstring)
    flags.source_flag(p, "-s", "--speech", legal="emxun")
    flags.language_flag(p, "-m", "--music", legal="em", of="the music")
    p.add_argument("-rel", "--release", required=True, choices=("y", "n"), help=_RELEASE)
    _model_flags(p, catalogue.names(script), "music", _FOLDS, required=False)
    p.add_argument("--probe", action="store_true", help=_PROBE)
    p.add_argument("--tag", metavar="NAME", help="add NAME to the run's name, to keep other runs")
    p.add_argument("--teacher", type=flags.codes, metavar="CODES", help=_TEACHER)
    p.add_argument("--nested", type=Path, metavar="FILE", help=_NESTED)
    args = _parsed(p, argv)
    if not isinstance(args.speech, str) and args.model:
        p.error("-s names codes, which replace the encoder: leave out -mod")
    if isinstance(args.speech, str) and not args.model:
        p.error("the following arguments are required: -mod/--model (not with -s and codes)")
    if args.nested and not args.folds:
        p.error("--nested needs --folds; --groups artist is recommended")
    settings = flags.settings_from(args, epochs=("transfer", "release"))
    plan = _plan(args, settings)
    if args.teacher:
        paths = [flags.codes_file(settings, args.music, named) for named in args.teacher]
        plan = plan.with_teacher(paths)
    flags.tell_recipe(args, settings, plan.all_sections)
    plan = _with_grid(plan, args.nested, settings)
    folder = args.path_load or flags.dataset_folder(settings, "music", args.music)
    keras_backend.import_keras()

    from lib.transfer import transfer_stage

    transfer_stage.transfer(plan, settings, folder, overwrite=args.overwrite)
    return 0


def _plan(args: argparse.Namespace, settings: Settings) -> TransferPlan:
    """Make the plan of a transfer from its flags."""
    release, folds = args.release == "y", _folds(args)
    if not isinstance(args.speech, str):
        paths = [flags.codes_file(settings, args.music, named) for named in args.speech]
        return TransferPlan.of_codes(
            paths, args.music, release=release, probe=args.probe, folds=folds
        )
    return TransferPlan.from_flags(
        args.model, args.speech, args.music, release=release, probe=args.probe, folds=folds
    )


def _with_grid(plan: TransferPlan, path: Path | None, settings: Settings) -> TransferPlan:
    """Return the plan, nested if there is a file of recipes."""
    if path is None:
        return plan
    if plan.steps == ("probe",):
        say(f"{_BY_ITSELF}; --nested {path} changes nothing")
        return plan
    from lib.transfer.recipes import read_grid

    return replace(plan, grid=read_grid(path, settings, ("training", *plan.all_sections)))


def _model_flags(
    p: argparse.ArgumentParser, models: Iterable[str], kind: str, folds: str, required: bool = True
) -> None:
    """Add the flags that both stages take; `kind` is that of the data set, `folds` a help text."""
    place = f"folder of the data set (default: <path_to_data>/features/{kind}/<language>)"
    add = p.add_argument
    add("-mod", "--model", required=required, choices=tuple(models), help="which encoder")
    add("-pl", "--path-load", "--path_load", type=Path, metavar="FOLDER", help=place)
    add("--iterations", type=flags.at_least(1), metavar="N", help=_ITERATIONS)
    add("--epochs", type=flags.at_least(1), metavar="N", help=_EPOCHS)
    add("--folds", type=flags.at_least(2), metavar="K", help=folds)
    add("--groups", choices=("artist",), help="(--folds) keep each artist in one fold")
    add("--deterministic", action="store_true", help="make weights reproducible, bit for bit")
    add("--tensorboard", action="store_true", help="event files in the run directory")


def _folds(args: argparse.Namespace) -> Folds | None:
    """Make the folds from the flags."""
    from lib.datasets.folds import Folds

    return Folds(args.folds, args.groups) if args.folds else None


def _parsed(p: argparse.ArgumentParser, argv: list[str] | None) -> argparse.Namespace:
    args = p.parse_args(argv)
    if args.groups and not args.folds:
        p.error("--groups needs --folds; for a single split, make the data set with --groups")
    return args
