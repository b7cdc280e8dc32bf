"""Macro F1 by language pair, as a figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from lib.figures.saving import panels, save_figure

MARKERS = {"feat_ext": "sD", "full": "oP", "scratch": "^v", "probe": "*X"}  # of modes in `table`


def table(cells: pd.DataFrame, modes: Mapping, titles: Mapping, path: Path, baseline: str) -> None:
    """Macro F1 of the quadrants by language pair, per window and per clip; PNG and PDF.

    cells : as of lib.results.table2.summarise; a point per encoder and mode with its 95 % interval
    over clips, the baseline and chance as lines, the published runs of experiment 2 as crosses
    modes, titles : how modes and encoders are called; baseline : a line where others are points
    """
    part = cells[cells["task"] == "quadrants"]
    transfers = part[~part["model"].isin([baseline, "chance"])]
    names = list(transfers.groupby(["model", "mode"], sort=False).groups)
    order, looks = list(titles), {}
    for model, mode in names:
        tens, number = divmod(order.index(model), 10)  # there are ten colours
        marker, colour = MARKERS[mode][tens % 2], f"C{number}"
        filled = "white" if mode == "feat_ext" else colour
        looks[model, mode] = {"color": colour, "marker": marker, "mfc": filled}
    step = min(0.16, 0.8 / max(len(names), 1))  # between points of a pair, which keep to its place
    shown = transfers if len(transfers) else part
    pairs = list(dict.fromkeys(zip(shown["speech"], shown["music"], strict=True)))
    pairs.sort(key=lambda pair: (pair[1], ("eng", "man", "mix", "own", "none").index(pair[0])))
    levels = list(dict.fromkeys(part["level"]))
    figure, axes = panels(
        1,
        len(levels),
        figsize=(max(8, 4 + 0.9 * len(pairs) * len(levels)), 4.4),
        sharey=True,
        layout="constrained",
    )
    for axis, level in zip(np.atleast_1d(axes), levels, strict=True):
        here = part[part["level"] == level]
        for music in dict.fromkeys(music for _, music in pairs):
            own = [i for i, pair in enumerate(pairs) if pair[1] == music]
            ends = (own[0] - 0.45, own[-1] + 0.45)
            for model, style, colour in ((baseline, "--", "black"), ("chance", ":", "grey")):
                for row in here[(here["model"] == model) & (here["music"] == music)].itertuples():
                    axis.plot(ends, [row.f1_mean] * 2, style, color=colour, linewidth=1.2)
                    if model == baseline:
                        axis.fill_between(ends, row.f1_low, row.f1_high, color="black", alpha=0.08)
        for k, (model, mode) in enumerate(names):
            rows = here[(here["model"] == model) & (here["mode"] == mode)].to_dict("records")
            x = [pairs.index((row["speech"], row["music"])) for row in rows]
            x = np.array(x) + (k - (len(names) - 1) / 2) * step
            mean, low, high = (
                np.array([row[key] for row in rows]) for key in ("f1_mean", "f1_low", "f1_high")
            )
            # a mean of several runs may lie outside an interval by rounding alone
            bars = np.maximum([mean - low, high - mean], 0)
            look = looks[model, mode]
            axis.errorbar(x, mean, bars, linestyle="", capsize=3, **look)
            if level == "window":
                axis.plot(
                    x, [row["published_2"] for row in rows], "x", color=look["color"], alpha=0.6
                )
        axis.set_xticks(range(len(pairs)), [f"{s}\n→ {m}" if s != "none" else m for s, m in pairs])
        axis.set_xlim(-0.6, len(pairs) - 0.4)
        axis.set_ylim(0, 1)
        axis.set_title(f"per {level}", fontsize=10)
        axis.grid(axis="y", alpha=0.3)
    first = np.atleast_1d(axes)[0]
    first.set_ylabel("macro F1 of the quadrants")
    figure.supxlabel("language of speech → of music", fontsize=10)
    handles = [
        Line2D([], [], linestyle="", label=f"{titles[model]}, {modes[mode]}", **look)
        for (model, mode), look in looks.items()
    ]
    lines = (
        (
            (part["model"] == baseline).any(),
            "CNN from scratch",
            {"linestyle": "--", "color": "black"},
        ),
        (True, "chance", {"linestyle": ":", "color": "grey"}),
        (
            transfers["published_2"].notna().any(),
            "published (experiment 2)",
            {"linestyle": "", "marker": "x", "color": "grey"},
        ),
    )
    handles += [Line2D([], [], label=label, **look) for drawn, label, look in lines if drawn]
    figure.legend(handles=handles, fontsize=8, loc="outside right upper")
    figure.suptitle(
        "points: mean of the runs; bars and band: 95 % interval over test clips",
        fontsize=9,
        x=0.01,  # beside the legend, however narrow the figure is
        ha="left",
    )
    save_figure(figure, path, pdf=True)
