"""What the twin scripts share: both pretraining scripts, both transfer scripts.

Each script names its models; flags, settings and the call into the stage are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lib import cli


def pretraining(docstring: str, models: Iterable[str], argv: list[str] | None) -> int:
    """Parse the flags of a pretraining script and run it; `models` are the legal names of -mod."""
    p = cli.parser(docstring)
    cli.language_flag(p, "-s", "--speech", legal="emx", of="the speech")
    _model_and_folder(p, models, "speech")
    _training_flags(p)
    args = p.parse_args(argv)
    settings = cli.settings_from(args, epochs=("pretrain",))
    folder = args.path_load or cli.dataset_folder(settings, "speech", args.speech)
    cli.import_keras()

    from lib.pretraining import pretrain

    pretrain(args.model, args.speech, settings, folder, overwrite=args.overwrite)
    return 0


def transfer(docstring: str, models: Iterable[str], argv: list[str] | None) -> int:
    """Parse the flags of a transfer script and run it; `models` are the legal names of -mod."""
    p = cli.parser(docstring)
    cli.language_flag(p, "-s", "--speech", legal="emx", of="the speech")
    cli.language_flag(p, "-m", "--music", legal="em", of="the music")
    _model_and_folder(p, models, "music")
    p.add_argument(
        "-rel",
        "--release",
        required=True,
        choices=("y", "n"),
        help="y = train the encoder too (Full), n = keep it frozen (Feat. Ext.)",
    )
    p.add_argument("--folds", type=cli.at_least(2), metavar="K", help=_FOLDS)
    p.add_argument("--groups", choices=("artist",), help="(--folds) keep each artist in one fold")
    _training_flags(p)
    args = p.parse_args(argv)
    if args.groups and not args.folds:
        p.error("--groups goes with --folds; for a single split, make the data set with --groups")
    settings = cli.settings_from(args, epochs=("transfer", "release"))
    folder = args.path_load or cli.dataset_folder(settings, "music", args.music)
    cli.import_keras()

    from lib.crossval import Folds
    from lib.transfer import transfer as stage

    release = args.release == "y"
    stage(
        *(args.model, args.speech, args.music, release, settings, folder),
        folds=Folds(args.folds, args.groups) if args.folds else None,
        overwrite=args.overwrite,
    )
    return 0


_FOLDS = "cross-validate with K folds of all clips instead of testing on the test split"


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
