"""Compute how well annotators agree on arousal, valence and quadrant. Pure functions of ratings.

Ratings are a table as read by annotation_tables.read_ratings: song, annotator, arousal, valence.
Krippendorff's alpha is 1 for full agreement and 0 for chance (Krippendorff 2011). Ratings have an
interval scale, quadrants a nominal one. Confidence intervals are percentiles of a bootstrap over
songs. A song's agreement is the share of its annotators whose own rating lies in the quadrant of
the mean rating.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lib.corpora.annotation_tables import AXES, mean_ratings, quadrant_of
from lib.errors import UserError
from lib.labels import QUADRANTS

SCALES = {"arousal": "interval", "valence": "interval", "quadrants": "nominal"}
RESAMPLES = 2000  # of the bootstrap [our choice]


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
            "agreement needs songs with ratings by at least two annotators; the table has one "
            "rating per song: provide ratings in long form (song, annotator, arousal, valence)"
        )
    rated, of_song = _quadrants(ratings)
    ratings = ratings.assign(quadrants=[QUADRANTS.index(q) for q in rated])
    songs = per_song(ratings)
    per_quadrant = {}
    for q in QUADRANTS:
        shares = songs.loc[songs["quadrant"] == q, "agreement"]
        mean = float(shares.mean()) if len(shares) else None
        per_quadrant[q] = {"songs": len(shares), "agreement": mean}
    confusion = pd.crosstab(of_song, rated)
    confusion = confusion.reindex(index=QUADRANTS, columns=QUADRANTS, fill_value=0)
    return {
        "songs": len(songs),
        "annotators": int(ratings["annotator"].nunique()),
        "ratings": len(ratings),
        "zeros": int((ratings[list(AXES)] == 0).sum().sum()),
        "alpha": {column: _alpha(ratings, column, seed) for column in SCALES},
        "per_quadrant": per_quadrant,
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
    rated, of_song = _quadrants(ratings)
    agree = pd.Series(rated == of_song)
    songs["agreement"] = agree.groupby(ratings["song"].to_numpy()).mean().to_numpy()
    return songs


def report(agreement: Mapping) -> str:
    """The result of `analyse` as text for a terminal."""
    lines = [
        f"{agreement['songs']} songs, {agreement['annotators']} annotators, "
        f"{agreement['ratings']} ratings of arousal and valence",
        f"{agreement['zeros']} ratings are exactly 0 and count as positive",
        "",
        "Krippendorff's alpha (95 % interval; 1 full agreement, 0 chance)",
    ]
    for column, alpha in agreement["alpha"].items():
        interval = f"({alpha['low']:.3f} to {alpha['high']:.3f})"
        lines.append(f"  {column:<9} {alpha['value']:6.3f}  {interval}  {SCALES[column]}")
    lines += ["", "share of annotators by the quadrant of their own rating"]
    lines.append("  song's    songs  " + "".join(f"{q:>7}" for q in QUADRANTS))
    for q, row in zip(QUADRANTS, agreement["confusion"], strict=True):
        shares = "".join(f"{n / max(sum(row), 1):7.2f}" for n in row)
        lines.append(f"  {q:<9} {agreement['per_quadrant'][q]['songs']:5d}  {shares}")
    return "\n".join(lines) + "\n"


def _quadrants(ratings: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The quadrant of each rating, and that of its song."""
    of_song = mean_ratings(ratings).set_index("song")["quadrant"].loc[ratings["song"]]
    return quadrant_of(ratings["arousal"], ratings["valence"]), of_song.to_numpy()


def _alpha(ratings: pd.DataFrame, column: str, seed: int) -> dict[str, float]:
    """Krippendorff's alpha of a column, with its interval."""
    table = ratings.pivot(index="annotator", columns="song", values=column).to_numpy(dtype=float)
    level, songs = SCALES[column], table.shape[1]
    draws = np.random.default_rng(seed).integers(0, songs, (RESAMPLES, songs))
    low, high = np.nanpercentile(_resampled(table, draws, level), [2.5, 97.5])
    value = _resampled(table, np.arange(songs)[None], level)[0]
    return {"value": float(value), "low": float(low), "high": float(high)}


def _resampled(table: np.ndarray, draws: np.ndarray, level: str) -> np.ndarray:
    """Alpha of each draw of songs : float (draws,).

    The closed form is a thousand times faster than the package krippendorff, with which the tests
    compare it. Alpha is 1 - Do / De: the mean
    disagreement of pairs of ratings within songs (Do) and over all songs (De). For an interval
    scale both follow from sums; for a nominal one, from sums over the classes' indicators.
    """
    rated = ~np.isnan(table)
    values = table[None]
    if level == "nominal":
        values = table == np.unique(table[rated])[:, None, None]
    number = rated.sum(axis=0)
    number = np.where(number > 1, number, 0)  # a song with one rating has no pairs
    values = np.where(rated & (number > 0), values, 0.0)
    sums, squares = values.sum(axis=1), np.square(values).sum(axis=1)
    within = (2 * (number * squares - sums**2) / np.maximum(number - 1, 1)).sum(axis=0)
    n = number[draws].sum(axis=1)
    between = 0.0
    for s, q in zip(sums, squares, strict=True):
        between += 2 * (n * q[draws].sum(axis=1) - s[draws].sum(axis=1) ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1 - within[draws].sum(axis=1) * (n - 1) / between
