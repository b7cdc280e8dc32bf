"""How far annotators agree on arousal, valence and quadrant. Pure functions of a table of ratings.

Ratings are a table as of annotation_tables.read_ratings: song, annotator, arousal, valence.
Krippendorff's alpha is 1 for full agreement and 0 for that of chance (Krippendorff 2011); ratings
are on an interval scale, quadrants on a nominal one. Intervals are percentiles of a bootstrap over
songs. A song's agreement is the share of its annotators whose own rating lies in the quadrant of
the mean rating.
"""

from __future__ import annotations

from collections.abc import Mapping

import krippendorff
import numpy as np
import pandas as pd

from lib.corpora.annotation_tables import AXES, mean_ratings, quadrant_of
from lib.errors import UserError
from lib.labels import QUADRANTS

RESAMPLES = 2000  # of the bootstrap [our choice]
# The library's arrays have songs x values x values cells (1 GB here). For finer ratings of more
# songs the closed form that the bootstrap uses gives the same number (tested).
LIBRARY_CELLS = 1 << 27


def analyse(ratings: pd.DataFrame, seed: int = 0) -> dict:
    """Agreement of the annotators.

    Returns songs, annotators, ratings (counts); zeros, ratings of exactly 0, which count as
    positive; alpha {arousal, valence, quadrants: {value, low, high}}, the interval of 95 %;
    per_quadrant {quadrant: {songs, agreement}} (None without songs); confusion, int (4, 4): song's
    quadrant by annotator's quadrant.

    Raises UserError when no song has two annotators.
    """
    if ratings.groupby("song").size().max() < 2:
        raise UserError(
            "agreement needs songs with ratings by two annotators at least; the table has one "
            "rating per song: bring the ratings in long form (song, annotator, arousal, valence)"
        )
    own = quadrant_of(ratings["arousal"], ratings["valence"])
    ratings = ratings.assign(quadrants=[QUADRANTS.index(q) for q in own])
    songs = per_song(ratings)
    of_song = songs.set_index("song")["quadrant"].loc[ratings["song"]].to_numpy()
    confusion = pd.crosstab(of_song, own).reindex(index=QUADRANTS, columns=QUADRANTS, fill_value=0)
    return {
        "songs": len(songs),
        "annotators": int(ratings["annotator"].nunique()),
        "ratings": len(ratings),
        "zeros": int((ratings[list(AXES)] == 0).sum().sum()),
        "alpha": {what: _alpha(ratings, what, seed) for what in (*AXES, "quadrants")},
        "per_quadrant": {
            q: {
                "songs": int((songs["quadrant"] == q).sum()),
                "agreement": _mean(songs.loc[songs["quadrant"] == q, "agreement"]),
            }
            for q in QUADRANTS
        },
        "confusion": confusion.to_numpy().tolist(),
    }


def per_song(ratings: pd.DataFrame) -> pd.DataFrame:
    """Per song: song, annotators, arousal, valence (means), their standard deviations, quadrant,
    agreement (share of annotators in the song's quadrant)."""
    songs = mean_ratings(ratings).drop(columns="group")
    groups = ratings.groupby("song")
    for axis in AXES:
        songs[f"{axis}_sd"] = groups[axis].std().to_numpy()
    songs.insert(1, "annotators", groups.size().to_numpy())
    of_song = songs.set_index("song")["quadrant"].loc[ratings["song"]].to_numpy()
    agree = quadrant_of(ratings["arousal"], ratings["valence"]) == of_song
    songs["agreement"] = pd.Series(agree).groupby(ratings["song"].to_numpy()).mean().to_numpy()
    return songs


def report(found: Mapping) -> str:
    """The agreement as a text for a terminal."""
    lines = [
        f"{found['songs']} songs, {found['annotators']} annotators, {found['ratings']} ratings of "
        "arousal and valence",
        f"{found['zeros']} ratings are exactly 0 and count as positive",
        "",
        "Krippendorff's alpha (95 % interval; 1 full agreement, 0 chance)",
    ]
    for what, alpha in found["alpha"].items():
        scale = "nominal" if what == "quadrants" else "interval"
        lines.append(
            f"  {what:<9} {alpha['value']:6.3f}  ({alpha['low']:.3f} to {alpha['high']:.3f})"
            f"  {scale}"
        )
    lines += ["", "share of annotators by the quadrant of their own rating"]
    lines.append("  song's    songs  " + "".join(f"{q:>7}" for q in QUADRANTS))
    for q, row in zip(QUADRANTS, found["confusion"], strict=True):
        shares = "".join(f"{n / max(sum(row), 1):7.2f}" for n in row)
        lines.append(f"  {q:<9} {found['per_quadrant'][q]['songs']:5d}  {shares}")
    return "\n".join(lines) + "\n"


def _alpha(ratings: pd.DataFrame, what: str, seed: int) -> dict[str, float]:
    """Krippendorff's alpha of a column, with its interval."""
    table = ratings.pivot(index="annotator", columns="song", values=what).to_numpy(dtype=float)
    level = "nominal" if what == "quadrants" else "interval"
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, table.shape[1], (RESAMPLES, table.shape[1]))
    resampled = _resampled(table, draws, level)
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    if table.shape[1] * np.unique(table).size ** 2 <= LIBRARY_CELLS:
        value = krippendorff.alpha(reliability_data=table, level_of_measurement=level)
    else:
        value = _resampled(table, np.arange(table.shape[1])[None], level)[0]
    return {"value": float(value), "low": float(low), "high": float(high)}


def _resampled(table: np.ndarray, draws: np.ndarray, level: str) -> np.ndarray:
    """Alpha of each draw of songs : float (draws,).

    In closed form, a thousand times quicker than the library: alpha is 1 - Do / De, where the
    disagreement is that of pairs of ratings, within songs and of all. For squared differences both
    follow from sums; for "the same or not" they are those of the classes' indicators added up.
    """
    values = [table]
    if level == "nominal":
        classes = np.unique(table[~np.isnan(table)])
        values = [np.where(np.isnan(table), np.nan, table == c) for c in classes]
    number = (~np.isnan(table)).sum(axis=0)
    number = np.where(number > 1, number, 0)  # a song with one rating has no pairs
    within, sums, squares = np.zeros(len(number)), [], []
    for v in values:
        v = np.where(np.isnan(v) | (number == 0), 0.0, v)
        s, q = v.sum(axis=0), np.square(v).sum(axis=0)
        within += np.where(number > 0, 2 * (number * q - s**2) / np.maximum(number - 1, 1), 0)
        sums.append(s)
        squares.append(q)
    n = number[draws].sum(axis=1)
    between = sum(
        2 * (n * q[draws].sum(axis=1) - s[draws].sum(axis=1) ** 2)
        for s, q in zip(sums, squares, strict=True)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1 - within[draws].sum(axis=1) * (n - 1) / between


def _mean(values: pd.Series) -> float | None:
    return float(values.mean()) if len(values) else None
