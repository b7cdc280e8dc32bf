"""What the twin scripts share: both pretraining scripts, both transfer scripts.

Each script names its models; flags, settings and the call into the stage are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lib import keras_backend
from lib.command_line import flags
from lib.models import catalogue
from lib.transfer.transfer_plan import TransferPlan


def pretraining(docstring: str, script: str, argv: list[str] | None) -> int:
    """Parse the flags of a pretraining script and run it; `script` as of ModelSpec."""
    p = flags.parser(docstring)
    source = p.add_mutually_exclusive_group(required=True)
    speech = {"legal": "emx", "of": "the speech", "required": False}
    flags.language_flag(source, "-s", "--speech", **speech)
    music = {"legal": "em", "of": "music to pretrain on, without its labels", "required": False}
    flags.language_flag(source, "-m", "--music", **music)
    _model_and_folder(p, catalogue.names(script, pretrained=True), "speech or music")
    _fold_flags(p, "pretrain once per fold of the music, for the same flags of the transfer")
    _training_flags(p)
    args = _parsed(p, argv)
    if args.folds and not args.music:
        p.error("--folds goes with -m: speech is not divided")
    settings = flags.settings_from(args, epochs=("pretrain",))
    flags.tell_recipe(args, settings, ("pretrain", "network", *catalogue.spec(args.model).sections))
    kind, language = ("music", args.music) if args.music else ("speech", args.speech)
    folder = args.path_load or flags.dataset_folder(settings, kind, language)
    keras_backend.import_keras()

    from lib.pretraining.pretraining_stage import pretrain

    source = (kind, language)
    pretrain(args.model, source, settings, folder, folds=_folds(args), overwrite=args.overwrite)
    return 0


def transfer(docstring: str, script: str, argv: list[str] | None) -> int:
    """Parse the flags of a transfer script and run it; `script` as of ModelSpec."""
    p = flags.parser(docstring)
    flags.language_flag(p, "-s", "--speech", legal="emxun", of="the speech, or else")
    flags.language_flag(p, "-m", "--music", legal="em", of="the music")
    _model_and_folder(p, catalogue.names(script), "music")
    p.add_argument(
        "-rel",
        "--release",
        required=True,
        choices=("y", "n"),
        help="y = train the encoder too (Full), n = keep it frozen (Feat. Ext.)",
    )
    _fold_flags(p, "cross-validate with K folds of all clips instead of testing on the test split")
    p.add_argument("--probe", action="store_true", help=_PROBE)
    p.add_argument("--tag", metavar="NAME", help="put into the run's name, beside other runs")
    _training_flags(p)
    args = _parsed(p, argv)
    settings = flags.settings_from(args, epochs=("transfer", "release"))
    plan = TransferPlan.from_flags(
        args.model,
        args.speech,
        args.music,
        release=args.release == "y",
        probe=args.probe,
        folds=_folds(args),
    )
    flags.tell_recipe(args, settings, plan.all_sections)
    folder = args.path_load or flags.dataset_folder(settings, "music", args.music)
    keras_backend.import_keras()

    from lib.transfer.transfer_stage import transfer as stage

    stage(plan, settings, folder, overwrite=args.overwrite)
    return 0


_PROBE = "(-rel n) a support vector machine on the encoder's codes instead of heads"


def _fold_flags(p, meaning: str) -> None:
    p.add_argument("--folds", type=flags.at_least(2), metavar="K", help=meaning)
    p.add_argument("--groups", choices=("artist",), help="(--folds) keep each artist in one fold")


def _parsed(p, argv: list[str] | None):
    args = p.parse_args(argv)
    if args.groups and not args.folds:
        p.error("--groups goes with --folds; for a single split, make the data set with --groups")
    return args


def _folds(args):
    """The folds that the flags ask for, or None."""
    from lib.datasets.folds import Folds

    return Folds(args.folds, args.groups) if args.folds else None


def _model_and_folder(p, models: Iterable[str], kind: str) -> None:
    p.add_argument("-mod", "--model", required=True, choices=tuple(models), help="which encoder")
    p.add_argument(
        *("-pl", "--path-load", "--path_load"),
        type=Path,
        metavar="FOLDER",
        help=f"folder of the data set (default: <path_to_data>/features/{kind}/<language>)",
    )


def _training_flags(p) -> None:
    p.add_argument("--deterministic", action="store_true", help="the same weights, bit for bit")
    p.add_argument("--tensorboard", action="store_true", help="event files in the run directory")
