"""Every figure of the suite. Knows numbers and files, not how they came about."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lib.artefacts import atomic

CNN = "model_cnn"  # the baseline, a line where others are points
MARKERS = {"feat_ext": "sD", "full": "oP", "scratch": "^v", "probe": "*X"}  # of modes in `table`


def _panels(rows: int, columns: int, *, figsize: tuple, layout: str | None = None, **how) -> tuple:
    """A figure and its axes, as pyplot's subplots, without pyplot: a caller's own figures and
    choice of backend stay as they are."""
    figure = Figure(figsize=figsize, layout=layout)
    return figure, figure.subplots(rows, columns, **how)


def _save(figure: Figure, path: Path, *, pdf: bool = False) -> None:
    """Write a figure; with `pdf` also as PDF for a paper, beside it."""
    for target in (path, path.with_suffix(".pdf"))[: 1 + pdf]:
        # without a date: the same figures give the same bytes
        dated = {"metadata": {"CreationDate": None}} if target.suffix == ".pdf" else {}
        # text in PDF files stays text (TrueType, which publishers ask for)
        fonts = matplotlib.rc_context({"pdf.fonttype": 42})
        with atomic(target) as partial, fonts, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")  # shown as a box
            figure.savefig(partial, dpi=150, bbox_inches="tight", **dated)


def confusions(levels: Mapping[str, Mapping], path: Path, title: str) -> None:
    """Confusion matrices: a row per level (window, clip), a column per task.

    levels : as of lib.evaluation.evaluate; cells show the share of the true class and the count.
    Written as PNG and PDF.
    """
    tasks = list(next(iter(levels.values())))
    figure, axes = _panels(
        len(levels), len(tasks), figsize=(4 * len(tasks), 3.8 * len(levels)), squeeze=False
    )
    for row, (level, results) in zip(axes, levels.items(), strict=True):
        for axis, task in zip(row, tasks, strict=True):
            counts = np.asarray(results[task]["confusion"])
            shares = np.asarray(results[task]["confusion_normalised"])
            names = list(results[task]["per_class"])
            axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
            for i in range(len(names)):
                for j in range(len(names)):
                    axis.text(
                        j,
                        i,
                        f"{shares[i, j]:.2f}\n({counts[i, j]})",
                        ha="center",
                        va="center",
                        fontsize=8,
                        color="white" if shares[i, j] > 0.5 else "black",
                    )
            axis.set_xticks(range(len(names)), names)
            axis.set_yticks(range(len(names)), names, rotation=90, va="center")
            axis.set_xlabel("predicted")
            axis.set_ylabel("true")
            f1 = results[task]["macro_f1"]
            axis.set_title(f"{task} per {level}, macro F1 {f1:.2f}", fontsize=10)
    figure.suptitle(title)
    figure.tight_layout()
    _save(figure, path, pdf=True)


def reliability(levels: Mapping[str, Mapping], path: Path, title: str) -> None:
    """Accuracy against confidence: a row per level, a column per task; PNG and PDF.

    levels : as of lib.evaluation.evaluate; on the diagonal, probabilities mean what they say
    """
    tasks = list(next(iter(levels.values())))
    figure, axes = _panels(
        len(levels), len(tasks), figsize=(3.6 * len(tasks), 3.4 * len(levels)), squeeze=False
    )
    for row, (level, results) in zip(axes, levels.items(), strict=True):
        for axis, task in zip(row, tasks, strict=True):
            bins = results[task]["reliability"]
            low, high, items, accuracy, confidence = (
                np.array([b[key] for b in bins])
                for key in ("low", "high", "items", "accuracy", "confidence")
            )
            share = items / items.sum()
            axis.bar(
                low,
                share,
                high - low,
                align="edge",
                color="lightgrey",
                label=f"share of {level}s",
            )
            axis.plot([0, 1], [0, 1], color="grey", linestyle=":", label="calibrated")
            axis.plot(confidence, accuracy, "o-", markersize=4, label="accuracy")
            axis.set_xlim(1 / len(results[task]["per_class"]) - 0.02, 1.01)
            axis.set_ylim(0, 1.01)
            axis.set_xlabel("probability of the predicted class")
            axis.set_ylabel("accuracy, share")
            axis.set_title(f"{task} per {level}, ECE {results[task]['ece']:.2f}", fontsize=10)
    axes[0][0].legend(fontsize=7, loc="upper left")
    figure.suptitle(title)
    figure.tight_layout()
    _save(figure, path, pdf=True)


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
    figure, axes = _panels(1, len(names), figsize=(1 + 4.5 * len(names), 3.5), squeeze=False)
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
    _save(figure, path)


def fold_curves(histories: Sequence[pd.DataFrame], path: Path, title: str, measure: str) -> None:
    """Loss and a measure over epochs of each fold of a cross-validation, a colour per fold.

    histories : columns as the rows of `curves`, a table per fold
    """
    figure, axes = _panels(1, 2, figsize=(10, 3.5))
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
    _save(figure, path)


def reconstructions(windows: Mapping[str, np.ndarray], path: Path, title: str) -> None:
    """The same windows as they are, as the network gets them and as it gives them back.

    windows : {what they are called: float (n, n_mels, frames, 1)}, a row each; the first row's
    values are the range of the colours
    """
    clean = next(iter(windows.values()))
    n = len(clean)
    figure, axes = _panels(3, n, figsize=(1.9 * n + 1, 6.5), squeeze=False, sharey=True)
    low, high = clean.min(), clean.max()
    for row, (name, images) in zip(axes, windows.items(), strict=True):
        for axis, window in zip(row, images, strict=True):
            image = axis.imshow(
                window[..., 0], origin="lower", aspect="auto", vmin=low, vmax=high, cmap="magma"
            )
            axis.set_xlabel("frame", fontsize=8)
        row[0].set_ylabel(f"{name}\nmel band")
    figure.suptitle(title)
    figure.tight_layout()
    figure.colorbar(image, ax=axes, label="log magnitude (natural)", shrink=0.6)
    _save(figure, path)


def agreement(found: Mapping, path: Path, title: str) -> None:
    """Which quadrants annotators confuse, and Krippendorff's alpha with its interval.

    found : as of lib.agreement.analyse
    """
    figure, (left, right) = _panels(1, 2, figsize=(10, 4.2), width_ratios=(1, 1.1))
    counts = np.asarray(found["confusion"])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    left.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for i, j in np.ndindex(counts.shape):
        text = f"{shares[i, j]:.2f}\n({counts[i, j]})"
        color = "white" if shares[i, j] > 0.5 else "black"
        left.text(j, i, text, ha="center", va="center", fontsize=9, color=color)
    songs = [f"{q}\n{about['songs']} songs" for q, about in found["per_quadrant"].items()]
    left.set_xticks(range(len(songs)), list(found["per_quadrant"]))
    left.set_yticks(range(len(songs)), songs)
    left.set_xlabel("quadrant of an annotator's rating")
    left.set_ylabel("quadrant of the mean rating")
    left.set_title("share of annotators (count)", fontsize=10)
    names = list(found["alpha"])
    value, low, high = (
        np.array([found["alpha"][name][key] for name in names]) for key in ("value", "low", "high")
    )
    right.errorbar(
        value, range(len(names)), xerr=[value - low, high - value], fmt="o", capsize=4, color="C0"
    )
    # the customary limits of Krippendorff 2004
    for limit, what in ((0.0, "chance"), (0.667, "tentative"), (0.8, "reliable")):
        right.axvline(limit, color="grey", linestyle=":")
        right.annotate(
            what,
            (limit, 0.02),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
            rotation=90,
            fontsize=8,
            color="dimgrey",
        )
    right.set_yticks(range(len(names)), names)
    right.set_ylim(len(names) - 0.5, -0.5)
    right.set_xlim(min(-0.1, low.min() - 0.05), 1.05)
    right.set_xlabel("Krippendorff's alpha, 95 % interval")
    figure.suptitle(
        f"{title}: {found['songs']} songs, {found['annotators']} annotators, "
        f"{found['ratings']} ratings"
    )
    figure.tight_layout()
    _save(figure, path)


def taggram(
    envelope: np.ndarray,
    start: np.ndarray,
    quadrants: np.ndarray,
    axes_values: Mapping[str, np.ndarray],
    seconds: float,
    path: Path,
    title: str,
) -> None:
    """Emotion over time, below the waveform.

    Parameters
    ----------
    envelope : float (points, 2), lowest and highest sample along the recording
    start : float (n,), seconds from the start of the recording to that of each window
    quadrants : float (n, 4), probabilities
    axes_values : {"arousal", "valence"}: float (n,), from -1 to 1
    seconds : length of the recording
    """
    figure, (wave, tags, lines) = _panels(
        3, 1, figsize=(10, 5.6), sharex=True, height_ratios=(1, 1.6, 1.6), layout="constrained"
    )
    x = np.linspace(0, seconds, len(envelope))
    wave.fill_between(x, envelope[:, 0], envelope[:, 1], color="dimgrey", linewidth=0)
    wave.set_ylim(-1.05, 1.05)
    wave.set_ylabel("amplitude")
    edges = np.append(start, seconds)
    image = tags.pcolormesh(edges, np.arange(5), quadrants.T, vmin=0, vmax=1, cmap="viridis")
    tags.set_yticks(np.arange(4) + 0.5, ("Q1  A+ V+", "Q2  A+ V–", "Q3  A– V–", "Q4  A– V+"))
    tags.invert_yaxis()
    figure.colorbar(image, ax=tags, label="probability", pad=0.01)
    for name, values in axes_values.items():
        # a value holds until the next window begins
        lines.stairs(values, edges, baseline=None, label=name, linewidth=1.2)
    lines.axhline(0, color="grey", linewidth=0.8)
    lines.set_ylim(-1.05, 1.05)
    lines.set_yticks((-1, 0, 1), ("negative", "0", "positive"))
    lines.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=8, borderaxespad=0.2)
    lines.set_xlim(0, seconds)
    lines.xaxis.set_major_formatter(_clock)
    lines.set_xlabel("time (min:s)" if seconds < 3600 else "time (h:min:s)")
    figure.suptitle(title.replace("$", r"\$"), fontsize=11)
    _save(figure, path)


def _clock(seconds: float, _: object) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def table(cells: pd.DataFrame, modes: Mapping, titles: Mapping, path: Path) -> None:
    """Macro F1 of the quadrants by language pair, per window and per clip; PNG and PDF.

    cells : as of lib.tables.summarise; a point per encoder and mode with its 95 % interval over
    clips, the baseline and chance as lines, the published runs of experiment 2 as crosses
    modes, titles : how modes and encoders are called
    """
    part = cells[cells["task"] == "quadrants"]
    transfers = part[~part["model"].isin([CNN, "chance"])]
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
    figure, axes = _panels(
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
            for model, style, colour in ((CNN, "--", "black"), ("chance", ":", "grey")):
                for row in here[(here["model"] == model) & (here["music"] == music)].itertuples():
                    axis.plot(ends, [row.f1_mean] * 2, style, color=colour, linewidth=1.2)
                    if model == CNN:
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
        ((part["model"] == CNN).any(), "CNN from scratch", {"linestyle": "--", "color": "black"}),
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
        "points: mean of the runs; bars and band: 95 % interval over test clips", fontsize=9
    )
    _save(figure, path, pdf=True)


def study(table: pd.DataFrame, titles: Mapping[str, str], path: Path) -> None:
    """Macro F1 per clip against the number of labelled clips: a panel per way of training, a line
    per encoder with 95 % intervals over clips.

    table : as of lib.study_results.summarise; titles : of the models. Written as PNG and PDF.
    """
    panels = {
        "probe": "SVM on frozen codes",
        "feat_ext": "heads on frozen codes",
        "full": "released",
    }
    sources = {"n": "random", "e": "English", "m": "Mandarin", "x": "both", "u": "music"}
    names = list(table.groupby(["model", "source"], sort=False).groups)
    figure, axes = _panels(1, len(panels), figsize=(15, 4.8), sharey=True, layout="constrained")
    for axis, (mode, title) in zip(axes, panels.items(), strict=True):
        shown = table[(table["mode"] == mode) | (table["mode"] == "scratch")]
        if mode != "probe":
            svm = table[(table["mode"] == "probe") & (table["model"] == "model_svm")]
            shown = pd.concat([shown, svm])
        for (model, source, own), part in shown.groupby(["model", "source", "mode"], sort=False):
            part = part.sort_values("labelled")
            number = names.index((model, source))
            label = titles[model] + ("" if model == "model_svm" else f", {sources[source]}")
            style = {"color": f"C{number % 10}", "marker": "o", "markersize": 4}
            if own == "scratch":
                label, style = "from scratch", {"color": "black", "linestyle": "--", "marker": "s"}
            if model == "model_svm":
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
    _save(figure, path, pdf=True)
