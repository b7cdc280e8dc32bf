"""Every figure of the suite. Knows numbers and files, not how they came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from lib.artefacts import atomic


def _save(figure: plt.Figure, path: Path) -> None:
    with atomic(path) as partial:
        figure.savefig(partial, dpi=150, bbox_inches="tight")
    plt.close(figure)


def confusions(levels: Mapping[str, Mapping], path: Path, title: str) -> None:
    """Confusion matrices: a row per level (window, clip), a column per task.

    levels : as of lib.evaluation.evaluate; cells show the share of the true class and the count
    """
    tasks = list(next(iter(levels.values())))
    figure, axes = plt.subplots(
        len(levels), len(tasks), figsize=(4 * len(tasks), 3.8 * len(levels)), squeeze=False
    )
    for row, (level, results) in zip(axes, levels.items(), strict=True):
        for axis, task in zip(row, tasks, strict=True):
            counts = np.asarray(results[task]["confusion"])
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
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
    _save(figure, path)


def curves(
    history: Sequence[Mapping],
    path: Path,
    title: str,
    measure: str | None = None,
    frozen: Sequence[Mapping] = (),
) -> None:
    """Loss and, where there is one, a measure over epochs; the best epoch is marked.

    history : rows with epoch, loss, val_loss and the measure, its name with and without val_
    frozen : those of the step with the encoder frozen, from which this one went on
    """
    rows = [*frozen, *history]
    epochs = np.arange(1, len(rows) + 1)
    number = min(history, key=lambda row: row["val_loss"])["epoch"]
    best = f"best, epoch {number}{' after release' if frozen else ''}"
    names = ["loss", *([measure] if measure else [])]
    figure, axes = plt.subplots(1, len(names), figsize=(1 + 4.5 * len(names), 3.5), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        marker = "." if len(epochs) < 40 else None
        axis.plot(epochs, [row[name] for row in rows], marker=marker, label="training")
        axis.plot(epochs, [row[f"val_{name}"] for row in rows], marker=marker, label="validation")
        axis.axvline(len(frozen) + number, color="grey", linestyle=":", label=best)
        if frozen:
            axis.axvspan(0.5, len(frozen) + 0.5, color="grey", alpha=0.15, label="encoder frozen")
            axis.axvline(len(frozen) + 0.5, color="black", linewidth=1, label="released")
        axis.set_xlabel("epoch")
        axis.set_ylabel(name.replace("_", " "))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(fontsize=8)
    figure.suptitle(title)
    figure.tight_layout()
    _save(figure, path)


def reconstructions(
    clean: np.ndarray, noisy: np.ndarray, denoised: np.ndarray, path: Path, title: str
) -> None:
    """Clean, noisy and denoised windows : float (n, n_mels, frames, 1), one column each."""
    n = len(clean)
    figure, axes = plt.subplots(3, n, figsize=(1.9 * n + 1, 6.5), squeeze=False, sharey=True)
    low, high = clean.min(), clean.max()
    rows = (("clean", clean), ("noisy", noisy), ("denoised", denoised))
    for row, (name, windows) in zip(axes, rows, strict=True):
        for axis, window in zip(row, windows, strict=True):
            image = axis.imshow(
                window[..., 0], origin="lower", aspect="auto", vmin=low, vmax=high, cmap="magma"
            )
            axis.set_xlabel("frame", fontsize=8)
        row[0].set_ylabel(f"{name}\nmel band")
    figure.suptitle(title)
    figure.tight_layout()
    figure.colorbar(image, ax=axes, label="log magnitude (natural)", shrink=0.6)
    _save(figure, path)


def agreement(found: Mapping, path: Path, title: str) -> None:
    """Which quadrants annotators confuse, and Krippendorff's alpha with its interval.

    found : as of lib.agreement.analyse
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), width_ratios=(1, 1.1))
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
    _save(figure, path)


def table(rows: Sequence[Mapping], chance: Mapping[str, float], path: Path) -> None:
    """Macro F1 of the quadrants: a group per language pair, a point per encoder and mode.

    rows : pair, name, mean, sd, runs; chance : {music language: macro F1 of guessing}
    """
    pairs = list(dict.fromkeys(row["pair"] for row in rows))
    names = list(dict.fromkeys(row["name"] for row in rows))
    figure, axis = plt.subplots(figsize=(1.5 * len(pairs) + 3.5, 4.2))
    colours = plt.get_cmap("tab10")
    for k, name in enumerate(names):
        own = [row for row in rows if row["name"] == name]
        x = [pairs.index(row["pair"]) + (k - (len(names) - 1) / 2) * 0.12 for row in own]
        spread = [row["sd"] or 0 for row in own]
        axis.errorbar(
            x,
            [row["mean"] for row in own],
            yerr=spread,
            fmt="o",
            capsize=3,
            color=colours(k),
            label=name,
        )
    for i, pair in enumerate(pairs):
        level = chance.get(pair.split(" ")[-1])
        if level is not None:
            label = "chance" if i == 0 else None
            axis.plot([i - 0.4, i + 0.4], [level] * 2, color="grey", linestyle=":", label=label)
    axis.set_xticks(range(len(pairs)), pairs)
    axis.set_xlim(-0.6, len(pairs) - 0.4)
    axis.set_ylim(0, 1)
    axis.set_xlabel("language of speech → of music")
    axis.set_ylabel("macro F1 of quadrants, per window")
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    _save(figure, path)
