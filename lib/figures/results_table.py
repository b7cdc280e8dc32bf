"""Draw macro F1 by language pair."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lib.figures.saving import panels, save_figure
from lib.labels import SHORT_NAMES

MARKERS = {"feat_ext": "sD", "full": "oP", "scratch": "^v", "probe": "*X"}  # of modes in `table`
CAPTION = "points: mean of the runs; bars and band: 95 % interval over test clips"


def table(cells: pd.DataFrame, modes: Mapping, titles: Mapping, path: Path, baseline: str) -> None:
    """Macro F1 of the quadrants by language pair, per window and per clip; PNG and PDF.

    cells : from lib.results.table2.summarise; a point per encoder and mode with its 95 % interval
    over clips, the baseline and chance as lines, the published runs of experiment 2 as crosses
    modes, titles : names of modes and encoders; baseline : encoder drawn as a line
    """
    cells = cells[cells["task"] == "quadrants"]
    is_line = cells["model"].isin([baseline, "chance"])
    shown = cells if is_line.all() else cells[~is_line]
    pairs = list(dict.fromkeys(zip(shown["speech"], shown["music"], strict=True)))
    pairs.sort(key=lambda pair: (pair[1], list(SHORT_NAMES.values()).index(pair[0])))
    levels = cells["level"].unique()
    width = max(8, 4 + 0.9 * len(pairs) * len(levels))
    figure, axes = panels(1, len(levels), figsize=(width, 4.4), sharey=True, squeeze=False)
    legend = {}
    for axis, level in zip(axes[0], levels, strict=True):
        here = cells["level"] == level
        _draw_points(axis, cells[here & ~is_line], pairs, modes, titles)
        _draw_lines(axis, cells[here & is_line], pairs, baseline)
        axis.set_xticks(range(len(pairs)), [f"{s}\n→ {m}" if s != "none" else m for s, m in pairs])
        axis.set(xlim=(-0.6, len(pairs) - 0.4), ylim=(0, 1))
        axis.set_title(f"per {level}", fontsize=10)
        axis.grid(axis="y", alpha=0.3)
        handles, labels = axis.get_legend_handles_labels()
        legend |= dict(zip(labels, handles, strict=True))
    axes[0, 0].set_ylabel("macro F1 of the quadrants")
    figure.supxlabel("language of speech → of music", fontsize=10)
    figure.legend(legend.values(), legend, fontsize=8, loc="outside right upper")
    # left of the legend, even in a narrow figure
    figure.suptitle(CAPTION, fontsize=9, x=0.01, ha="left")
    save_figure(figure, path, pdf=True)


def _draw_points(
    axis: Axes, cells: pd.DataFrame, pairs: list[tuple], modes: Mapping, titles: Mapping
) -> None:
    """The transfers; those of one language pair are drawn side by side."""
    groups = cells.groupby(["model", "mode"], sort=False)
    step = min(0.16, 0.8 / max(len(groups), 1))
    for number, ((model, mode), part) in enumerate(groups):
        tens, unit = divmod(list(titles).index(model), 10)  # ten colours
        look = {"color": f"C{unit}", "marker": MARKERS[mode][tens % 2], "linestyle": ""}
        look["markerfacecolor"] = "white" if mode == "feat_ext" else look["color"]
        x = [pairs.index(pair) for pair in zip(part["speech"], part["music"], strict=True)]
        x = np.array(x) + (number - (len(groups) - 1) / 2) * step
        mean, low, high = part[["f1_mean", "f1_low", "f1_high"]].to_numpy().T
        # rounding can put a mean of several runs outside its interval
        bars = np.maximum([mean - low, high - mean], 0)
        axis.errorbar(x, mean, bars, capsize=3, label=f"{titles[model]}, {modes[mode]}", **look)
        axis.plot(x, part["published_2"], "x", color=look["color"], alpha=0.6)
    if cells["published_2"].notna().any():
        axis.plot([], [], "x", color="grey", label="published (experiment 2)")


def _draw_lines(axis: Axes, cells: pd.DataFrame, pairs: list[tuple], baseline: str) -> None:
    """The baseline and chance, across the language pairs of their music."""
    for row in cells.itertuples():
        places = [i for i, (_, music) in enumerate(pairs) if music == row.music]
        if not places:
            continue
        ends = (places[0] - 0.45, places[-1] + 0.45)
        if row.model == baseline:
            axis.hlines(row.f1_mean, *ends, "black", "--", linewidth=1.2, label="CNN from scratch")
            axis.fill_between(ends, row.f1_low, row.f1_high, color="black", alpha=0.08)
        else:
            axis.hlines(row.f1_mean, *ends, "grey", ":", linewidth=1.2, label="chance")
