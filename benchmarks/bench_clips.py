"""Compare ways to get a clip's probabilities from those of its windows, by macro F1 per clip.

    python3 benchmarks/bench_clips.py models_trans/*/*.it_0

Reads the predictions.csv of the given runs. The suite uses "mean".
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lib.evaluation import (
    metrics,
    predictions_table,
)
from lib.labels import TASKS

WAYS = {  # probabilities of a clip's windows (n, classes) -> of the clip (classes,)
    "mean": lambda p: p.mean(axis=0),
    "geometric mean": lambda p: np.exp(np.log(np.maximum(p, 1e-7)).mean(axis=0)),
    "median": lambda p: np.median(p, axis=0),
    "vote": lambda p: np.bincount(p.argmax(axis=1), minlength=p.shape[1]) / len(p),
    "surest window": lambda p: p[p.max(axis=1).argmax()],
    "every other window": lambda p: p[::2].mean(axis=0),
}


def main(argv=None) -> int:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("runs", nargs="+", type=Path)
    for run in p.parse_args(argv).runs:
        table = predictions_table.read(run / predictions_table.PREDICTIONS)
        clips, first, of = np.unique(table["recording"], return_index=True, return_inverse=True)
        true, probabilities = (
            predictions_table.labels_of(table),
            predictions_table.probabilities_of(table),
        )
        print(f"{run.parent.name}/{run.name}, {len(clips)} clips")
        for name, way in WAYS.items():
            shown = []
            for task, classes in TASKS.items():
                found = np.stack([way(probabilities[task][of == k]) for k in range(len(clips))])
                f1 = metrics.score(true[task][first], found, classes)["macro_f1"]
                shown.append(f"{task} {f1:.3f}")
            print(f"  {name:>18}  {'  '.join(shown)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
