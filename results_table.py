"""Write the paper's Table 2 from all finished runs, and compare them.

python3 results_table.py                     models_trans/ -> results/
python3 results_table.py --out results/mine
python3 results_table.py --check             do the tables still match the runs' predictions?

table.md has everything: the runs next to the published figures, the differences from the baseline
from scratch and the contrasts of languages with intervals, cross-validations, and what was left
out. report.html adds the figures of every run, and the study where there is one. table.tex is for a
paper; table.png and .pdf are the figure. The .csv files have all numbers; runs.csv has the commit,
settings, data and packages of every run.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also with PYTHONSAFEPATH

from lib import configuration, console
from lib.command_line import flags
from lib.errors import guard


def parse_args(argv=None):
    p = flags.plain_parser(__doc__)
    p.add_argument("--out", type=Path, metavar="FOLDER", help="default: results/")
    p.add_argument("--check", action="store_true", help="compute all tables again, and compare")
    return p.parse_args(argv)


@guard
def main(argv=None) -> int:
    args = parse_args(argv)
    models = configuration.models_folder()

    from lib.results import results_stage

    out = args.out or models / "results"
    if args.check:
        console.say(results_stage.check(models, out))
        return 0
    said = f"all results: {out / 'report.html'}; as text: table.md; see --help"
    console.say(results_stage.results(models, out), said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
