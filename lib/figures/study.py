"""Macro F1 against the number of labelled clips."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from lib.figures.saving import panels, save_figure


def study(table: pd.DataFrame, titles: Mapping[str, str], path: Path, probe: str) -> None:
    """Macro F1 per clip against the number of labelled clips: a panel per way of training, a line
    per encoder with 95 % intervals over clips.

    table : as of lib.experiments.study_results.summarise; titles : of the models; probe :
    which of them is on log-mel statistics. Written as PNG and PDF.
    """
    modes = {
        "probe": "SVM on frozen codes",
        "feat_ext": "heads on frozen codes",
        "full": "released",
    }
    sources = {"n": "random", "e": "English", "m": "Mandarin", "x": "both", "u": "music"}
    names = list(table.groupby(["model", "source"], sort=False).groups)
    figure, axes = panels(1, len(modes), figsize=(15, 4.8), sharey=True, layout="constrained")
    for axis, (mode, title) in zip(axes, modes.items(), strict=True):
        shown = table[(table["mode"] == mode) | (table["mode"] == "scratch")]
        if mode != "probe":
            svm = table[(table["mode"] == "probe") & (table["model"] == probe)]
            shown = pd.concat([shown, svm])
        for (model, source, own), part in shown.groupby(["model", "source", "mode"], sort=False):
            part = part.sort_values("labelled")
            number = names.index((model, source))
            label = titles[model] + ("" if model == probe else f", {sources[source]}")
            style = {"color": f"C{number % 10}", "marker": "o", "markersize": 4}
            if own == "scratch":
                label, style = "from scratch", {"color": "black", "linestyle": "--", "marker": "s"}
            if model == probe:
                style = {"color": "grey", "linestyle": ":", "marker": "^"}
            shift = 1 + 0.02 * (number - len(names) / 2)  # so that intervals stand side by side
            bars = np.maximum([part["clip_f1"] - part["low"], part["high"] - part["clip_f1"]], 0)
            axis.errorbar(
                part["labelled"] * shift, part["clip_f1"], bars, capsize=2, label=label, **style
            )
        axis.axhline(0.25, color="lightgrey")
        axis.set_xscale("log")
        ticks = sorted(table["labelled"].unique())
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
        axis.set_xlabel("labelled clips")
        axis.set_title(title, fontsize=10)
        axis.legend(fontsize=7)
    axes[0].set_ylabel("macro F1 of the quadrants per clip")
    figure.suptitle("bars: 95 % interval over test clips; grey line: chance", fontsize=9)
    save_figure(figure, path, pdf=True)
