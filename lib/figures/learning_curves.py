"""Draw the loss and a measure over the epochs of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lib.figures.saving import panels, save_figure


def curves(
    history: Sequence[Mapping],
    path: Path,
    title: str,
    kept: int,
    measure: str | None = None,
    frozen: Sequence[Mapping] = (),
) -> None:
    """Loss and, if given, a measure over epochs.

    history : rows with epoch, loss, val_loss, the measure and val_<measure>
    kept : the epoch whose weights are kept; it is marked
    frozen : rows of the step before, with the encoder frozen
    """
    rows = pd.DataFrame([*frozen, *history])
    label = f"kept, epoch {kept}{' after release' if frozen else ''}"
    names = ["loss", measure] if measure else ["loss"]
    figure, axes = panels(1, len(names), figsize=(1 + 4.5 * len(names), 3.5), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        _over_epochs(axis, rows, name, label="training")
        _over_epochs(axis, rows, f"val_{name}", label="validation")
        axis.axvline(len(frozen) + kept, color="grey", linestyle=":", label=label)
        if frozen:
            axis.axvspan(0.5, len(frozen) + 0.5, color="grey", alpha=0.15, label="encoder frozen")
            axis.axvline(len(frozen) + 0.5, color="black", linewidth=1, label="released")
        axis.legend(fontsize=8)
    figure.suptitle(title)
    save_figure(figure, path)


def fold_curves(histories: Sequence[pd.DataFrame], path: Path, title: str, measure: str) -> None:
    """Loss and a measure over epochs for each fold of a cross-validation, a colour per fold.

    histories : a table per fold, with the columns of `history` in `curves`
    """
    figure, axes = panels(1, 2, figsize=(10, 3.5))
    for axis, name in zip(axes, ("loss", measure), strict=True):
        for number, history in enumerate(histories):
            color = f"C{number % 10}"
            _over_epochs(axis, history, name, color=color, linestyle=":")
            _over_epochs(axis, history, f"val_{name}", color=color, label=f"fold {number + 1}")
    axes[0].legend(fontsize=8, title="dotted: training", title_fontsize=8)
    figure.suptitle(title)
    save_figure(figure, path)


def _over_epochs(axis: Axes, history: pd.DataFrame, name: str, **look) -> None:
    epochs = np.arange(1, len(history) + 1)
    axis.plot(epochs, history[name], marker="." if len(epochs) < 40 else None, **look)
    axis.set(xlabel="epoch", ylabel=name.removeprefix("val_").replace("_", " "))
    axis.xaxis.get_major_locator().set_params(integer=True)
