"""Print macro F1 per clip of runs on the same clips, and the differences from the first run.

    python3 benchmarks/compare_runs.py RUN OTHER [OTHER ...]

RUN is the directory of a finished run or of a whole cross-validation. Brackets show 95 % intervals
of a bootstrap over clips (paired for differences). They are not corrected for their number.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lib.errors import UserError, guard
from lib.evaluation import bootstrap, predictions_table
from lib.labels import TASKS


@guard
def main(argv=None) -> int:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("runs", nargs="+", type=Path)
    runs = p.parse_args(argv).runs
    tables = [predictions_table.read(run / predictions_table.PREDICTIONS) for run in runs]
    clips = [table.groupby("recording")["quadrants"].first() for table in tables]
    for run, of_run in zip(runs, clips, strict=True):
        if not of_run.equals(clips[0]):
            raise UserError(f"{run} has other clips than {runs[0]}, or other labels of them")
    weights = bootstrap.draws(len(clips[0]), 0)
    counts = [predictions_table.confusions(table)["clip"] for table in tables]
    values = [{task: bootstrap.resampled([c[task]], weights) for task in TASKS} for c in counts]
    for run, of_run in zip(runs, values, strict=True):
        print(run.name)
        for task, (value, drawn) in of_run.items():
            low, high = bootstrap.interval(drawn)
            line = f"  {task:9}  {value:.3f} [{low:.3f}, {high:.3f}]"
            if of_run is not values[0]:
                base, base_drawn = values[0][task]
                low, high = bootstrap.interval(drawn - base_drawn)
                line += f"  {value - base:+.3f} [{low:+.3f}, {high:+.3f}]"
            print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
