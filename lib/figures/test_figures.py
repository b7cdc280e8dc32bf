"""Confusion matrices and reliability diagrams of a test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lib.figures.saving import panels, save_figure


def confusions(levels: Mapping[str, Mapping], path: Path, title: str) -> None:
    """Confusion matrices: a row per level (window, clip), a column per task.

    levels : as of lib.evaluation.metrics.evaluate; cells show the share of the true class and
    the count. Written as PNG and PDF.
    """
    tasks = list(next(iter(levels.values())))
    figure, axes = panels(
        len(levels), len(tasks), figsize=(4 * len(tasks), 3.8 * len(levels)), squeeze=False
    )
    for row, (level, results) in zip(axes, levels.items(), strict=True):
        for axis, task in zip(row, tasks, strict=True):
            counts = np.asarray(results[task]["confusion"])
            shares = np.asarray(results[task]["confusion_normalised"])
            names = list(results[task]["per_class"])
            axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
            for i in range(len(names)):
                for j in range(len(names)):
                    axis.text(
                        j,
                        i,
                        f"{shares[i, j]:.2f}\n({counts[i, j]})",
                        ha="center",
                        va="center",
                        fontsize=8,
                        color="white" if shares[i, j] > 0.5 else "black",
                    )
            axis.set_xticks(range(len(names)), names)
            axis.set_yticks(range(len(names)), names, rotation=90, va="center")
            axis.set_xlabel("predicted")
            axis.set_ylabel("true")
            f1 = results[task]["macro_f1"]
            axis.set_title(f"{task} per {level}, macro F1 {f1:.2f}", fontsize=10)
    figure.suptitle(title)
    figure.tight_layout()
    save_figure(figure, path, pdf=True)


def reliability(levels: Mapping[str, Mapping], path: Path, title: str) -> None:
    """Accuracy against confidence: a row per level, a column per task; PNG and PDF.

    levels : as of lib.evaluation.metrics.evaluate; on the diagonal, probabilities mean what they
    say
    """
    tasks = list(next(iter(levels.values())))
    figure, axes = panels(
        len(levels), len(tasks), figsize=(3.6 * len(tasks), 3.4 * len(levels)), squeeze=False
    )
    for row, (level, results) in zip(axes, levels.items(), strict=True):
        for axis, task in zip(row, tasks, strict=True):
            bins = results[task]["reliability"]
            low, high, items, accuracy, confidence = (
                np.array([b[key] for b in bins])
                for key in ("low", "high", "items", "accuracy", "confidence")
            )
            share = items / items.sum()
            axis.bar(
                low,
                share,
                high - low,
                align="edge",
                color="lightgrey",
                label=f"share of {level}s",
            )
            axis.plot([0, 1], [0, 1], color="grey", linestyle=":", label="calibrated")
            axis.plot(confidence, accuracy, "o-", markersize=4, label="accuracy")
            axis.set_xlim(1 / len(results[task]["per_class"]) - 0.02, 1.01)
            axis.set_ylim(0, 1.01)
            axis.set_xlabel("probability of the predicted class")
            axis.set_ylabel("accuracy, share")
            axis.set_title(f"{task} per {level}, ECE {results[task]['ece']:.2f}", fontsize=10)
    axes[0][0].legend(fontsize=7, loc="upper left")
    figure.suptitle(title)
    figure.tight_layout()
    save_figure(figure, path, pdf=True)
