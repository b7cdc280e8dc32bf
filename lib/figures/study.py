"""Draw macro F1 against the number of labelled clips."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from lib.figures.saving import panels, save_figure

MODES = {"probe": "SVM on frozen codes", "feat_ext": "heads on frozen codes", "full": "released"}
SOURCES = {"n": "random", "e": "English", "m": "Mandarin", "x": "both", "u": "music", "c": "codes"}


def study(table: pd.DataFrame, titles: Mapping[str, str], path: Path, probe: str) -> None:
    """Macro F1 per clip against the number of labelled clips: a panel per way of training, a line
    per encoder with 95 % intervals over clips. Written as PNG and PDF.

    table : from lib.experiments.study_results.summarise; titles : of the models; probe : the model
    on log-mel statistics
    """
    encoders = list(table.groupby(["model", "source"], sort=False).groups)
    always = (table["mode"] == "scratch") | (table["model"] == probe)  # in every panel
    ticks = sorted(table["labelled"].unique())
    figure, axes = panels(1, len(MODES), figsize=(15, 4.8), sharey=True)
    for axis, (mode, title) in zip(axes, MODES.items(), strict=True):
        shown = table[(table["mode"] == mode) | always]
        for (model, source, training), part in shown.groupby(
            ["model", "source", "mode"], sort=False
        ):
            number = encoders.index((model, source))
            label = f"{titles[model]}, {SOURCES[source]}"
            look = {"color": f"C{number % 10}", "marker": "o", "markersize": 4}
            if training == "scratch":
                label, look = "from scratch", {"color": "black", "linestyle": "--", "marker": "s"}
            if model == probe:
                label, look = titles[model], {"color": "grey", "linestyle": ":", "marker": "^"}
            part = part.sort_values("labelled")
            x = part["labelled"] * (1 + 0.02 * (number - len(encoders) / 2))  # bars side by side
            bars = np.maximum([part["clip_f1"] - part["low"], part["high"] - part["clip_f1"]], 0)
            axis.errorbar(x, part["clip_f1"], bars, capsize=2, label=label, **look)
        axis.axhline(0.25, color="lightgrey")
        axis.set_xscale("log")
        axis.set_xticks(ticks, map(str, ticks))
        axis.minorticks_off()
        axis.set_xlabel("labelled clips")
        axis.set_title(title, fontsize=10)
        axis.legend(fontsize=7)
    axes[0].set_ylabel("macro F1 of the quadrants per clip")
    figure.suptitle("bars: 95 % interval over test clips; grey line: chance", fontsize=9)
    save_figure(figure, path, pdf=True)
