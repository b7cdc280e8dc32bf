"""Comparisons of runs on the same clips: paired bootstrap over clips; pure functions on arrays.

The test of a run is given as counts : int (clips, k, k), the confusion matrix of each clip (rows:
true, columns: predicted), of its windows or of its single prediction. Clips are drawn with
replacement (Efron 1979), the same for all runs, so that the difficulty of a clip cancels. Windows
of a clip stay together, since they are not independent. Iterations of a run are averaged, not
drawn: their standard deviation is reported elsewhere.

Several differences are corrected for their number by the distribution, over draws, of the largest
studentised deviation among them (Westfall & Young 1993; Romano & Wolf 2005): with 95 % probability
all corrected intervals contain their true values. Correlated comparisons widen them less than
independent ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

DRAWS = 10_000  # our choice: the ends of an interval move by some thousandths between seeds
CONFIDENCE = 0.95
ENDS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Macro F1 of confusion matrices : (…, k, k); (…). A class that is neither true nor
    predicted has F1 0."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    total = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    f1 = np.divide(2 * right, total, out=np.zeros(total.shape), where=total > 0)
    return f1.mean(axis=-1)


@lru_cache(maxsize=4)
def draws(clips: int, seed: int, number: int = DRAWS) -> np.ndarray:
    """How often each clip is in each draw : float64 (number, clips)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(clips, np.full(clips, 1 / clips), size=number).astype(float)


def resampled(counts: Sequence[np.ndarray], weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Macro F1, mean over iterations, and its value in each draw.

    counts : of each iteration, int (clips, k, k); weights : (draws, clips), from `draws`

    Returns the value and its draws : float64 (draws,).
    """
    value = np.mean([macro_f1(run.sum(axis=0)) for run in counts])
    drawn = [macro_f1(np.tensordot(weights, run, axes=1)) for run in counts]
    return float(value), np.mean(drawn, axis=0)


def interval(samples: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile interval of draws : (n,)."""
    low, high = np.quantile(samples, ENDS)
    return float(low), float(high)


def simultaneous(values: Sequence[float], samples: Sequence[np.ndarray]) -> list[dict]:
    """Intervals of differences, alone and all at once.

    Parameters
    ----------
    values : the differences
    samples : the draws of each : (n,), in the same order for all

    Returns for each: low, high (95 %, uncorrected), all_low, all_high (95 %, corrected) and the
    corrected p-value of no difference.
    """
    if not len(values):
        return []
    value, drawn = np.asarray(values, float)[:, None], np.stack(samples)
    spread = drawn.std(axis=1, ddof=1, keepdims=True)
    scale = np.where(spread < 1e-12, np.inf, spread)  # inf: the same predictions in both runs
    largest = (np.abs(drawn - value) / scale).max(axis=0)
    reach = np.quantile(largest, CONFIDENCE) * spread
    beyond = (largest >= np.abs(value) / scale).sum(axis=1)
    low, high = np.quantile(drawn, ENDS, axis=1)
    p = (1 + beyond) / (1 + len(largest))
    rows = np.column_stack([low, high, value - reach, value + reach, p]).tolist()
    return [
        dict(zip(("low", "high", "all_low", "all_high", "p"), row, strict=True)) for row in rows
    ]
