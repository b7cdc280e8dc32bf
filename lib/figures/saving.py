"""Figures without pyplot, and how they are written: whole, and the same bytes every time."""

from __future__ import annotations

import warnings
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.artefacts.files import atomic


def panels(rows: int, columns: int, *, figsize: tuple, **options) -> tuple:
    """A figure and its axes, as pyplot's subplots, without pyplot: a caller's own figures and
    choice of backend stay as they are."""
    figure = Figure(figsize=figsize, layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def draw_confusion(axis: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    """A confusion matrix : (k, k); the shares as colours, and as text with the counts."""
    axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for (i, j), share in np.ndenumerate(shares):
        text, color = f"{share:.2f}\n({counts[i, j]})", "white" if share > 0.5 else "black"
        axis.text(j, i, text, ha="center", va="center", fontsize=9, color=color)


def save_figure(figure: Figure, path: Path, *, pdf: bool = False) -> None:
    """Write a figure; with `pdf` also as PDF for a paper, beside it."""
    for target in (path, path.with_suffix(".pdf"))[: 1 + pdf]:
        # without a date: the same figures give the same bytes
        dated = {"metadata": {"CreationDate": None}} if target.suffix == ".pdf" else {}
        # text in PDF files stays text (TrueType, which publishers ask for)
        fonts = matplotlib.rc_context({"pdf.fonttype": 42})
        with atomic(target) as partial, fonts, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")  # shown as a box
            figure.savefig(partial, dpi=150, bbox_inches="tight", **dated)
