"""Search for the settings of a stage that give the lowest validation loss (Bayesian optimisation).

    python3 tune.py -stage pretrain_cpc -s e --trials 40             learning rate and decay
    python3 tune.py -stage trans_train_denoise_multi -s e -m m -rel n --trials 40
    python3 tune.py -stage pretrain_cpc -s e --trials 20 --epochs 10 \\
        --search pretrain.learning_rate=1e-4:1e-2 --search cpc.code=128,256,512

Needs what the stage needs, and Optuna: pip install -r requirements-tune.txt. Every trial trains the
stage once. Prints the line of the best trial with its --set flags; leaves the trials in
models/tuning/<study>/. Killed at any moment, the same line goes on; with more --trials, further.
"""

import shlex
import sys
from pathlib import Path

from lib import cli
from lib.errors import guard
from lib.spaces import STAGES, read


def parse_args(argv=None):
    p = cli.parser(__doc__, runs=False)
    add = p.add_argument
    add("-stage", "--stage", required=True, choices=tuple(STAGES), help="what is tuned")
    cli.language_flag(p, "-s", "--speech", legal="emx", of="the speech")
    cli.language_flag(p, "-m", "--music", legal="em", of="the music (transfer)", required=False)
    add("-mod", "--model", help="which encoder (default: the first of the stage's)")
    add("-rel", "--release", choices=("y", "n"), help="(transfer) y = Full, n = Feat. Ext.")
    add("-pl", "--path-load", "--path_load", type=Path, metavar="FOLDER", help=_LOAD)
    add("--trials", required=True, type=cli.at_least(1), metavar="N", help=_TRIALS)
    add("--search", action="append", default=[], metavar="SECTION.KEY=VALUES", help=_SEARCH)
    args = p.parse_args(argv)
    models, transfer = STAGES[args.stage]
    args.model = args.model or models[0]
    if args.model not in models:
        p.error(f"-mod {args.model}: {args.stage} has {', '.join(models)}")
    for flag, value in (("-m", args.music), ("-rel", args.release)):
        if transfer and value is None:
            p.error(f"{args.stage} needs {flag}")
        if not transfer and value is not None:
            p.error(f"{args.stage} has no {flag}: leave it out")
    return args


_LOAD = "folder of the data set (default: that of the stage)"
_TRIALS = "finished trials in all, those of earlier calls included"
_SEARCH = "LOW:HIGH or a,b,c; may be repeated (default: learning rate and decay of the stage)"


@guard
def main(argv=None) -> int:
    args = parse_args(argv)
    stage, release = STAGES[args.stage], args.release == "y"
    settings = cli.settings_from(args, epochs=stage.epochs)
    space = read(args.search, settings, stage.searched(args.model, release), fixed=args.set)
    kind, language = ("music", args.music) if stage.transfer else ("speech", args.speech)
    folder = args.path_load or cli.dataset_folder(settings, kind, language)
    names = (args.stage, args.model, args.speech, args.music, release)
    cli.import_keras()

    from lib.tuning import Search, tune

    tune(Search(*names, settings, folder, space, line_of(args)), args.trials)
    return 0


def line_of(args) -> str:
    """The line of the stage with the flags that were given to this script."""
    flags = {"-s": args.speech, "-m": args.music, "-mod": args.model, "-rel": args.release}
    flags |= {"-pl": args.path_load, "--seed": args.seed, "--epochs": args.epochs}
    given = [str(part) for flag in flags.items() if flag[1] is not None for part in flag]
    fixed = [part for item in args.set for part in ("--set", item)]
    return shlex.join(["python3", f"{args.stage}.py", *given, *fixed])


if __name__ == "__main__":
    sys.exit(main())
