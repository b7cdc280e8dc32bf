"""Loss and measure over the epochs of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lib.figures.saving import panels, save_figure


def curves(
    history: Sequence[Mapping],
    path: Path,
    title: str,
    kept: int,
    measure: str | None = None,
    frozen: Sequence[Mapping] = (),
) -> None:
    """Loss and, where there is one, a measure over epochs.

    history : rows with epoch, loss, val_loss and the measure, its name with and without val_
    kept : the epoch whose weights are kept, which is marked
    frozen : those of the step with the encoder frozen, from which this one went on
    """
    rows = [*frozen, *history]
    epochs = np.arange(1, len(rows) + 1)
    label = f"kept, epoch {kept}{' after release' if frozen else ''}"
    names = ["loss", *([measure] if measure else [])]
    figure, axes = panels(1, len(names), figsize=(1 + 4.5 * len(names), 3.5), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        marker = "." if len(epochs) < 40 else None
        axis.plot(epochs, [row[name] for row in rows], marker=marker, label="training")
        axis.plot(epochs, [row[f"val_{name}"] for row in rows], marker=marker, label="validation")
        axis.axvline(len(frozen) + kept, color="grey", linestyle=":", label=label)
        if frozen:
            axis.axvspan(0.5, len(frozen) + 0.5, color="grey", alpha=0.15, label="encoder frozen")
            axis.axvline(len(frozen) + 0.5, color="black", linewidth=1, label="released")
        axis.set_xlabel("epoch")
        axis.set_ylabel(name.replace("_", " "))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(fontsize=8)
    figure.suptitle(title)
    figure.tight_layout()
    save_figure(figure, path)


def fold_curves(histories: Sequence[pd.DataFrame], path: Path, title: str, measure: str) -> None:
    """Loss and a measure over epochs of each fold of a cross-validation, a colour per fold.

    histories : columns as the rows of `curves`, a table per fold
    """
    figure, axes = panels(1, 2, figsize=(10, 3.5))
    for axis, name in zip(axes, ("loss", measure), strict=True):
        for number, history in enumerate(histories, 1):
            epochs, style = np.arange(1, len(history) + 1), {"color": f"C{(number - 1) % 10}"}
            style["marker"] = "." if len(epochs) < 40 else None
            axis.plot(epochs, history[name], linestyle=":", **style)
            axis.plot(epochs, history[f"val_{name}"], label=f"fold {number}", **style)
        axis.set_xlabel("epoch")
        axis.set_ylabel(name.replace("_", " "))
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0].legend(fontsize=8, title="dotted: training", title_fontsize=8)
    figure.suptitle(title)
    figure.tight_layout()
    save_figure(figure, path)
