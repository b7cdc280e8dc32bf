"""Draw confusion matrices and reliability diagrams of a test: a row per level, a column per task.

levels : {window, clip}, from lib.evaluation.metrics.evaluate. Written as PNG and PDF.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.figures.saving import draw_confusion, panels, save_figure


def confusions(levels: Mapping[str, Mapping], path: Path, title: str) -> None:
    """Confusion matrices; cells show the share of the true class and the count."""
    figure, tests = _tests(levels, title)
    for axis, task, level, result in tests:
        counts, shares = (np.asarray(result[k]) for k in ("confusion", "confusion_normalised"))
        draw_confusion(axis, counts, shares)
        names = list(result["per_class"])
        axis.set_xticks(range(len(names)), names)
        axis.set_yticks(range(len(names)), names, rotation=90, va="center")
        axis.set(xlabel="predicted", ylabel="true")
        axis.set_title(f"{task} per {level}, macro F1 {result['macro_f1']:.2f}", fontsize=10)
    save_figure(figure, path, pdf=True)


def reliability(levels: Mapping[str, Mapping], path: Path, title: str) -> None:
    """Accuracy against confidence; on the diagonal, the probabilities are calibrated."""
    figure, tests = _tests(levels, title)
    for axis, task, level, result in tests:
        bins = pd.DataFrame(result["reliability"])
        share, width = bins["items"] / bins["items"].sum(), bins["high"] - bins["low"]
        label = f"share of {level}s"
        axis.bar(bins["low"], share, width, align="edge", color="lightgrey", label=label)
        axis.plot([0, 1], [0, 1], color="grey", linestyle=":", label="calibrated")
        axis.plot(bins["confidence"], bins["accuracy"], "o-", markersize=4, label="accuracy")
        axis.set(xlim=(1 / len(result["per_class"]) - 0.02, 1.01), ylim=(0, 1.01))
        axis.set(xlabel="probability of the predicted class", ylabel="accuracy, share")
        axis.set_title(f"{task} per {level}, ECE {result['ece']:.2f}", fontsize=10)
    figure.axes[0].legend(fontsize=7, loc="upper left")
    save_figure(figure, path, pdf=True)


def _tests(levels: Mapping, title: str) -> tuple[Figure, Iterator[tuple[Axes, str, str, Mapping]]]:
    """A figure, and for each panel its axes, task, level and measures."""
    rows, columns = len(levels), len(next(iter(levels.values())))
    figure, axes = panels(rows, columns, figsize=(4 * columns, 3.8 * rows), squeeze=False)
    figure.suptitle(title)
    tests = [(task, level, result) for level in levels for task, result in levels[level].items()]
    return figure, ((axis, *test) for axis, test in zip(axes.flat, tests, strict=True))
