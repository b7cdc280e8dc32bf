"""Draw the input and output of a denoiser."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lib.figures.saving import panels, save_figure


def reconstructions(windows: Mapping[str, np.ndarray], path: Path, title: str) -> None:
    """The same windows: clean, as the network's input and as its output.

    windows : {label: float (n, n_mels, frames, 1)}, a row each; the values of the first row set
    the range of the colours
    """
    clean = next(iter(windows.values()))
    n, limits = len(clean), {"vmin": clean.min(), "vmax": clean.max()}
    figure, axes = panels(3, n, figsize=(1.9 * n + 1, 6.5), squeeze=False, sharey=True)
    for row, (name, images) in zip(axes, windows.items(), strict=True):
        for axis, window in zip(row, images[..., 0], strict=True):
            image = axis.imshow(window, origin="lower", aspect="auto", cmap="magma", **limits)
            axis.set_xlabel("frame", fontsize=8)
        row[0].set_ylabel(f"{name}\nmel band")
    figure.suptitle(title)
    figure.colorbar(image, ax=axes, label="log magnitude (natural)", shrink=0.6)
    save_figure(figure, path)
