"""Put all finished runs into the form of the paper's Table 2.

python3 results_table.py                     models_trans/ -> results/table.{md,csv,png}
python3 results_table.py --out results/mine
"""

import argparse
import sys
from pathlib import Path

from lib import cli, config
from lib.errors import guard


def parse_args(argv=None):
    p = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("--out", type=Path, metavar="FOLDER", help="default: results/")
    return p.parse_args(argv)


@guard
def main(argv=None) -> int:
    args = parse_args(argv)
    models = config.models_folder()

    from lib.tables import results

    out = args.out or models / "results"
    cli.say("macro F1 per window, mean ± standard deviation over iterations", results(models, out))
    cli.say(f"all measures, per window and per clip: {out / 'table.md'}, .csv; drawn: table.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
