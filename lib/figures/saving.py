"""Make figures without pyplot and write them: never half, and the same bytes every time."""

from __future__ import annotations

import warnings
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.artefacts.files import atomic


def panels(rows: int, columns: int, *, figsize: tuple, **options) -> tuple:
    """A figure and its axes, like pyplot's subplots, but without pyplot: the caller's figures and
    backend do not change."""
    figure = Figure(figsize=figsize, layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def draw_confusion(axis: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    """Draw a confusion matrix : (k, k); shares as colours, and shares and counts as text."""
    axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for (i, j), share in np.ndenumerate(shares):
        text, color = f"{share:.2f}\n({counts[i, j]})", "white" if share > 0.5 else "black"
        axis.text(j, i, text, ha="center", va="center", fontsize=9, color=color)


def save_figure(figure: Figure, path: Path, *, pdf: bool = False) -> None:
    """Write a figure; with `pdf` also as PDF, for a paper, next to it."""
    for target in (path, path.with_suffix(".pdf"))[: 1 + pdf]:
        # no date, so that the same figure gives the same bytes
        dated = {"metadata": {"CreationDate": None}} if target.suffix == ".pdf" else {}
        # text in PDF files stays text (TrueType fonts, which publishers require)
        fonts = matplotlib.rc_context({"pdf.fonttype": 42})
        with atomic(target) as partial, fonts, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")  # drawn as a box
            figure.savefig(partial, dpi=150, bbox_inches="tight", **dated)
