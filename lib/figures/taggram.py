"""Draw the emotion over time, below the waveform."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lib.figures.saving import panels, save_figure
from lib.labels import columns_of


def taggram(
    envelope: np.ndarray,
    table: Mapping[str, np.ndarray],
    seconds: float,
    path: Path,
    title: str,
) -> None:
    """Waveform, probabilities of the quadrants, and arousal and valence along a recording.

    Parameters
    ----------
    envelope : float (points, 2), lowest and highest sample along the recording
    table : columns with a value per window: start_seconds; p_quadrants_Q1 to _Q4, probabilities;
        arousal and valence, from -1 to 1
    seconds : length of the recording
    """
    figure, (wave, tags, lines) = panels(
        3, 1, figsize=(10, 5.6), sharex=True, height_ratios=(1, 1.6, 1.6)
    )
    x = np.linspace(0, seconds, len(envelope))
    wave.fill_between(x, *envelope.T, color="dimgrey", linewidth=0)
    wave.set(ylim=(-1.05, 1.05), ylabel="amplitude")
    edges = np.append(table["start_seconds"], seconds)
    quadrants = np.stack([table[name] for name in columns_of("quadrants")])
    image = tags.pcolormesh(edges, np.arange(5), quadrants, vmin=0, vmax=1, cmap="viridis")
    tags.set_yticks(np.arange(4) + 0.5, ("Q1  A+ V+", "Q2  A+ V–", "Q3  A– V–", "Q4  A– V+"))
    tags.invert_yaxis()
    figure.colorbar(image, ax=tags, label="probability", pad=0.01)
    for name in ("arousal", "valence"):
        # a value is valid until the next window starts
        lines.stairs(table[name], edges, baseline=None, label=name, linewidth=1.2)
    lines.axhline(0, color="grey", linewidth=0.8)
    lines.set_yticks((-1, 0, 1), ("negative", "0", "positive"))
    lines.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=8, borderaxespad=0.2)
    lines.set(xlim=(0, seconds), ylim=(-1.05, 1.05))
    lines.xaxis.set_major_formatter(_clock)
    lines.set_xlabel("time (min:s)" if seconds < 3600 else "time (h:min:s)")
    figure.suptitle(title.replace("$", r"\$"), fontsize=11)
    save_figure(figure, path)


def _clock(seconds: float, _: object) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
