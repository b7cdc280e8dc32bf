"""Does pretraining help, and with how many labelled clips? Runs the whole study, one by one.

    python3 study.py                     all runs that are not finished; you may stop and restart it
    python3 study.py --hours 2           start no new run after two hours
    python3 study.py --seeds 1           one seed instead of three
    python3 study.py --codes musicnn_mtt_msd     with codes that embed.py made
    python3 study.py --lines             print all of its commands, without running them
    python3 study.py --table             only the table and the figure of the finished runs

Needs the data sets of speech (e, m, x) and of English music, which generate_dataset.py makes.
Every run is a command of the suite's own scripts, with the usual files. results/ gets
study_runs.csv (a row per finished run), study.csv (a row per cell), study_differences.csv (the
differences between cells), the last two also as tables in study.md, and study.png.
"""

import argparse
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also with PYTHONSAFEPATH

from lib import configuration, console, keras_backend
from lib.command_line import flags
from lib.errors import guard


def parse_args(argv=None):
    p = flags.plain_parser(__doc__)
    p.add_argument("--seeds", type=flags.at_least(1), default=3, metavar="N", help="default: 3")
    p.add_argument(
        "--hours", type=flags.number(0, 10_000), metavar="H", help="start no run after H"
    )
    p.add_argument("--codes", type=_name, nargs="+", default=[], metavar="NAME", help=_CODES)
    p.add_argument("--out", type=Path, metavar="FOLDER", help="instead of results/")
    p.add_argument("--lines", action="store_true", help="print all commands, run none")
    p.add_argument("--table", action="store_true", help="table and figure of the finished runs")
    return p.parse_args(argv)


_CODES = "also codes of the music that embed.py made, by name"


def _name(text: str) -> str:
    name = flags.codes(text)
    if len(name) > 1 or text.endswith(".codes"):
        raise argparse.ArgumentTypeError(f"{text}: expected the name of codes that embed.py made")
    return text


@guard
def main(argv=None) -> int:
    args = parse_args(argv)
    settings = configuration.load()
    out = args.out or configuration.models_folder() / "results"
    if not args.lines and not args.table:
        keras_backend.import_keras()

    from lib.artefacts import files
    from lib.experiments import study, study_results

    if args.lines:
        for line in study.lines(args.seeds, args.codes):
            console.say(shlex.join(["python3", *line]))
        return 0
    files.make_folder(out)
    if not args.table:
        for name in args.codes:
            flags.codes_file(settings, study.MUSIC, name)  # fails at once if missing
        left = study.run(settings, out, args.seeds, args.hours, args.codes)
        if left:
            console.say(f"time is up; {len(left)} runs are left; the same command resumes")
    console.say(study_results.write(out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
