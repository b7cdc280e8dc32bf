"""Draw the agreement between annotators."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from lib.figures.saving import draw_confusion, panels, save_figure

LIMITS = {"chance": 0.0, "tentative": 0.667, "reliable": 0.8}  # customary limits, Krippendorff 2004


def agreement(result: Mapping, path: Path, title: str) -> None:
    """Which quadrants annotators confuse, and Krippendorff's alpha with its interval.

    result : from lib.corpora.annotator_agreement.analyse
    """
    figure, (left, right) = panels(1, 2, figsize=(10, 4.2), width_ratios=(1, 1.1))
    counts = np.asarray(result["confusion"])
    draw_confusion(left, counts, counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    quadrants = result["per_quadrant"]
    left.set_xticks(range(len(quadrants)), quadrants)
    songs = [f"{name}\n{about['songs']} songs" for name, about in quadrants.items()]
    left.set_yticks(range(len(quadrants)), songs)
    left.set(xlabel="quadrant of an annotator's rating", ylabel="quadrant of the mean rating")
    left.set_title("share of annotators (count)", fontsize=10)
    alpha = pd.DataFrame(result["alpha"]).T
    bars = [alpha["value"] - alpha["low"], alpha["high"] - alpha["value"]]
    right.errorbar(alpha["value"], alpha.index, xerr=bars, fmt="o", capsize=4)
    for name, limit in LIMITS.items():
        right.axvline(limit, color="grey", linestyle=":")
        right.text(limit + 0.01, len(alpha) - 0.55, name, rotation=90, fontsize=8, color="dimgrey")
    right.set_ylim(len(alpha) - 0.5, -0.5)
    right.set(xlim=(min(-0.1, alpha["low"].min() - 0.05), 1.05))
    right.set_xlabel("Krippendorff's alpha, 95 % interval")
    counts = f"{result['songs']} songs, {result['annotators']} annotators"
    figure.suptitle(f"{title}: {counts}, {result['ratings']} ratings")
    save_figure(figure, path)
