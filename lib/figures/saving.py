"""Figures without pyplot, and how they are written: whole, and the same bytes every time."""

from __future__ import annotations

import warnings
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from lib.artefacts.files import atomic


def panels(rows: int, columns: int, *, figsize: tuple, layout: str | None = None, **how) -> tuple:
    """A figure and its axes, as pyplot's subplots, without pyplot: a caller's own figures and
    choice of backend stay as they are."""
    figure = Figure(figsize=figsize, layout=layout)
    return figure, figure.subplots(rows, columns, **how)


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
