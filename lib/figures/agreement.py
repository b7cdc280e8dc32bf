"""How far annotators agree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lib.figures.saving import panels, save_figure


def agreement(found: Mapping, path: Path, title: str) -> None:
    """Which quadrants annotators confuse, and Krippendorff's alpha with its interval.

    found : as of lib.corpora.annotator_agreement.analyse
    """
    figure, (left, right) = panels(1, 2, figsize=(10, 4.2), width_ratios=(1, 1.1))
    counts = np.asarray(found["confusion"])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    left.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for i, j in np.ndindex(counts.shape):
        text = f"{shares[i, j]:.2f}\n({counts[i, j]})"
        color = "white" if shares[i, j] > 0.5 else "black"
        left.text(j, i, text, ha="center", va="center", fontsize=9, color=color)
    songs = [f"{q}\n{about['songs']} songs" for q, about in found["per_quadrant"].items()]
    left.set_xticks(range(len(songs)), list(found["per_quadrant"]))
    left.set_yticks(range(len(songs)), songs)
    left.set_xlabel("quadrant of an annotator's rating")
    left.set_ylabel("quadrant of the mean rating")
    left.set_title("share of annotators (count)", fontsize=10)
    names = list(found["alpha"])
    value, low, high = (
        np.array([found["alpha"][name][key] for name in names]) for key in ("value", "low", "high")
    )
    right.errorbar(
        value, range(len(names)), xerr=[value - low, high - value], fmt="o", capsize=4, color="C0"
    )
    # the customary limits of Krippendorff 2004
    for limit, what in ((0.0, "chance"), (0.667, "tentative"), (0.8, "reliable")):
        right.axvline(limit, color="grey", linestyle=":")
        right.annotate(
            what,
            (limit, 0.02),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
            rotation=90,
            fontsize=8,
            color="dimgrey",
        )
    right.set_yticks(range(len(names)), names)
    right.set_ylim(len(names) - 0.5, -0.5)
    right.set_xlim(min(-0.1, low.min() - 0.05), 1.05)
    right.set_xlabel("Krippendorff's alpha, 95 % interval")
    figure.suptitle(
        f"{title}: {found['songs']} songs, {found['annotators']} annotators, "
        f"{found['ratings']} ratings"
    )
    figure.tight_layout()
    save_figure(figure, path)
