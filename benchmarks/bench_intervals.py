"""Check the error rate of the intervals of lib.evaluation.bootstrap on simulated, equal runs.

    python3 benchmarks/bench_intervals.py

Simulates six runs and a baseline, 500 times; each knows 60 % of the clips and guesses the others.
Prints the share of cases in which at least one interval of the six differences excludes 0, with and
without the correction for their number. With the correction it should be 0.05.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lib.evaluation import bootstrap


def main(argv=None) -> int:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--cases", type=int, default=500)
    cases = p.parse_args(argv).cases
    rng = np.random.default_rng(0)
    for clips in (32, 60, 120, 180, 270):
        corrected = alone = 0
        true = np.arange(clips) % 4
        for case in range(cases):
            weights = bootstrap.draws(clips, case, 1000)
            runs = [bootstrap.resampled([guessed(true, rng)], weights) for _ in range(7)]
            (base, drawn), *others = runs
            values = [value - base for value, _ in others]
            told = bootstrap.simultaneous(values, [own - drawn for _, own in others])
            corrected += any(t["all_low"] > 0 or t["all_high"] < 0 for t in told)
            alone += any(t["low"] > 0 or t["high"] < 0 for t in told)
        print(f"{clips} clips: corrected {corrected / cases:.3f}, uncorrected {alone / cases:.3f}")
    return 0


def guessed(true: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Confusion matrix of each clip : int (clips, 4, 4)."""
    guess = np.where(rng.random(len(true)) < 0.6, true, rng.integers(0, 4, len(true)))
    counts = np.zeros((len(true), 4, 4), int)
    counts[np.arange(len(true)), true, guess] = 1
    return counts


if __name__ == "__main__":
    sys.exit(main())
