"""Define the flags of predict.py, and find the models that they name."""

from __future__ import annotations

import argparse
from pathlib import Path

from lib import configuration
from lib.command_line import flags
from lib.models import catalogue
from lib.transfer.transfer_plan import TransferPlan

_HOP = "seconds between the starts of windows (default: the length of a window)"
_JOBS = "files at a time (default: one per core)"
_EXPORT = "only convert MODEL (any value of --model) to FILE.onnx, without predicting"


def parse(docstring: str, argv: list[str] | None) -> argparse.Namespace:
    """Parse and check the flags of predict.py."""
    p = flags.plain_parser(docstring)
    add = p.add_argument
    add("-i", "--input", nargs="+", metavar="PATH", help="files or folders; - for stdin")
    add("-o", "--out", type=Path, metavar="FOLDER", help="folder for the results")
    flags.language_flag(p, "-s", "--speech", legal="emxun", of="the speech", required=False)
    flags.language_flag(p, "-m", "--music", legal="em", of="the music", required=False)
    models = [model for model in catalogue.names() if not catalogue.spec(model).probe]
    add("-mod", "--model-name", choices=models, help="which encoder (default: model_over)")
    add("-rel", "--release", choices=("y", "n"), help="y = Full (default), n = Feat. Ext.")
    add("--iteration", type=flags.at_least(0), metavar="N", help="which run (default: 0)")
    add("--model", type=Path, metavar="PATH", help="a run directory, .onnx, .keras or .hdf5 file")
    add("--ensemble", action="store_true", help="average all iterations (or folds) of the model")
    add("--hop", type=flags.number(0.01, 3600), metavar="S", help=_HOP)
    add("--json", action="store_true", help="print a line of JSON per file, with its windows")
    add("--overwrite", action="store_true", help="replace existing results")
    add("--no-figures", action="store_true", help="do not write <name>.png")
    add("--jobs", type=flags.at_least(1), metavar="N", help=_JOBS)
    add("--export", nargs=2, type=Path, metavar=("MODEL", "FILE"), help=_EXPORT)
    args = p.parse_args(argv)
    if args.export:
        return args
    if not args.input:
        p.error("name files or folders with -i")
    if args.out is None and not args.json:
        p.error("name a folder for the results with -o, or print them with --json")
    run = (args.speech, args.music, args.model_name, args.release, args.iteration)
    named = any(value is not None for value in run)
    if args.model and named:
        p.error("--model names the model: leave out -s, -m, -mod, -rel and --iteration")
    args.model_name = args.model_name or models[0]
    if named and not (args.music and (args.speech or catalogue.spec(args.model_name).baseline)):
        p.error("choose a model with both -m and -s (model_cnn needs only -m)")
    return args


def models(args: argparse.Namespace) -> list[Path]:
    """The classifiers that the flags name; empty for the one of the suite."""
    from lib.models import classifiers

    path = args.model
    if args.music:
        speech, release = args.speech or "n", args.release and args.release == "y"
        plan = TransferPlan.from_flags(args.model_name, speech, args.music, release=release)
        name = plan.name(plan.steps[-1], args.iteration or 0)
        path = classifiers.find(configuration.models_folder(), name)
    if args.ensemble:
        return classifiers.members(path or classifiers.SHIPPED)
    return [path] if path else []
