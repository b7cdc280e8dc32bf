"""Draw recordings by hours, mix languages, and make stratified splits and folds. All seeded.

This module reads tables, not sound: the caller passes a function that gives durations. No draw
depends on the order or number of rows: a recording's place in the random order is a hash of the
seed and its name. So a corpus may grow, and a draw of few hours is part of a draw of many.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from lib.errors import UserError

SPLITS = ("train", "val", "test")


def draw_hours(
    table: pd.DataFrame,
    hours: float,
    seconds_of: Callable[[str], float],
    seed: int,
    by: str | None = None,
) -> pd.DataFrame:
    """Draw recordings in seeded random order until `hours` are reached; 0 takes all.

    table : recordings, as in lib.corpora.catalogue
    seconds_of : path -> duration in seconds; a file of 0 s can be drawn too
    seed : of the order; a draw of fewer hours with the same seed is part of a draw of more
    by : column of groups (speakers) that are covered evenly: the next recording always comes from
        the group with the fewest seconds so far

    Returns the drawn rows with a column `seconds`, in the table's order.
    """
    place = _random_places(table["recording"].tolist(), seed)
    groups = _groups(table, by)
    waiting: dict[str, list[int]] = {}
    for row in np.argsort(place)[::-1]:
        waiting.setdefault(groups[row], []).append(row)  # the last is drawn next
    heap = [(0.0, place[rows[-1]], group) for group, rows in waiting.items()]
    heapq.heapify(heap)
    paths, drawn, total = table["path"].to_numpy(), {}, 0.0
    while heap and not (hours and total >= hours * 3600):
        had, _, group = heapq.heappop(heap)
        row = waiting[group].pop()
        drawn[row] = seconds_of(paths[row])
        total += drawn[row]
        if waiting[group]:
            heapq.heappush(heap, (had + drawn[row], place[waiting[group][-1]], group))
    rows = sorted(drawn)
    return table.iloc[rows].assign(seconds=[drawn[row] for row in rows]).reset_index(drop=True)


def mixture(
    tables: Sequence[pd.DataFrame], hours: float, seed: int, by: str | None = None
) -> pd.DataFrame:
    """Equal durations of each table (already drawn, with `seconds`), `hours` in all.

    Each part is a shorter draw from its table. With `hours` 0, or more than available, each table
    contributes as much as the shortest one holds.
    """
    share = min(float(table["seconds"].sum()) for table in tables)
    if hours:
        share = min(share, hours * 3600 / len(tables))
    parts = []
    for table in tables:
        known = dict(zip(table["path"], table["seconds"], strict=True))
        parts.append(draw_hours(table, share / 3600, known.__getitem__, seed, by))
    mixed = pd.concat(parts, ignore_index=True)
    mixed["recording"] = mixed["language"] + "/" + mixed["recording"]
    return mixed


def shares_of(test: float, val: float) -> dict[str, float]:
    """The share of all recordings of each split; `val` is a share of those outside the test.

    A split with share 0 is left out.
    """
    shares = {"train": (1 - test) * (1 - val), "val": (1 - test) * val, "test": test}
    return {name: share for name, share in shares.items() if share}


def fold_shares(count: int, recordings: int) -> dict[int, float]:
    """The share of each of the folds 1 … count; UserError if there are fewer recordings."""
    if count > recordings:
        raise UserError(f"--folds {count}: there are {recordings} recordings")
    return dict.fromkeys(range(1, count + 1), 1 / count)


def check_classes(classes: pd.Series, where: pd.Series, names: Sequence) -> None:
    """Raise UserError when a split or fold has no recording of a class."""
    counts = pd.crosstab(classes, where).reindex(columns=list(names), fill_value=0)
    for name in names:
        lost = [str(c) for c in counts.index if counts.loc[c, name] == 0]
        if lost or counts.empty:
            shown = ", ".join(f"{c or 'all'}: {n}" for c, n in classes.value_counts().items())
            of_classes = f" of {', '.join(lost)}" if any(lost) else ""
            raise UserError(
                f"no recording{of_classes} is left for {name!r}, of {shown}: add more recordings "
                "(or smaller groups), or change dataset.test, dataset.val or --folds"
            )


def kept_together(table: pd.DataFrame, by: str | None, same: Sequence[str]) -> pd.Series:
    """Names of the sets that must not be divided : str (n,).

    by : column of the groups (artist, speaker), where an empty value is a recording on its own;
    None: no groups; same : per row, equal values for recordings with the same frames
    """
    groups = _groups(table, by)
    # sets that share samples are one set: follow each name to the first name of its set
    parent: dict[str, str] = {}

    def root(item: str) -> str:
        while parent.setdefault(item, item) != item:
            item = parent[item]
        return item

    for group, samples in zip(groups, same, strict=True):
        a, b = sorted((root(f"of {group}"), root(f"samples {samples}")))
        parent[b] = a
    return pd.Series([root(f"of {group}") for group in groups], index=table.index)


def assign(classes: pd.Series, together: pd.Series, shares: Mapping, seed: int) -> pd.Series:
    """Disjoint, exhaustive parts (splits or folds) with nearly the same shares of every class.

    classes : class per row; together : per row, the name of the set that stays in one part, as in
    `kept_together`; shares : {name of a part: its share of all rows}

    Returns the name of the part per row. Raises UserError when a part lacks a class.

    Greedy like scikit-learn's StratifiedGroupKFold, but for parts of any size. Sets are taken by
    decreasing size (random among equals), and each goes to the part where it brings the counts of
    the classes closest to their goal. A part that lacks a class at the end gets the smallest set
    with this class from a part that keeps some.
    """
    counts = pd.crosstab(together, classes)
    sets = counts.index.to_numpy()
    counts = counts.to_numpy(dtype=float)
    goal = np.outer(list(shares.values()), counts.sum(axis=0))
    filled, part = np.zeros_like(goal), np.zeros(len(sets), dtype=np.int64)
    for row in np.lexsort((_random_places(list(sets), seed), -counts.sum(axis=1))):
        c = counts[row]
        # what (filled + c - goal)² / goal, summed over classes, adds if the set goes to each part
        cost = (c * (2 * (filled - goal) + c) / goal).sum(axis=1)
        part[row] = np.argmin(cost)
        filled[part[row]] += c
    for lacking, k in np.argwhere(filled == 0):
        spare = (counts[:, k] > 0) & (filled[part, k] > counts[:, k])
        if filled[lacking, k] == 0 and spare.any():
            row = np.flatnonzero(spare)[np.argmin(counts[spare].sum(axis=1))]
            filled[part[row]] -= counts[row]
            part[row] = lacking
            filled[lacking] += counts[row]
    names = np.array(list(shares))[pd.Series(part, index=sets).loc[together]]
    names = pd.Series(names, index=classes.index)
    check_classes(classes, names, list(shares))
    return names


def deviation(classes: pd.Series, where: pd.Series, shares: Mapping) -> tuple[float, str, str]:
    """The largest difference between a class's count in a split and its goal.

    shares : {split: requested share}; returns (difference, in recordings; class; split)
    """
    counts = pd.crosstab(classes, where).reindex(columns=list(shares), fill_value=0)
    off = (counts - np.outer(counts.sum(axis=1), list(shares.values()))).abs().unstack()
    return max((distance, str(c), str(name)) for (name, c), distance in off.items())


def _groups(table: pd.DataFrame, by: str | None) -> list[str]:
    """The group of each recording; one without a group is alone, with a name no group can have."""
    names = table["recording"].tolist()
    if by is None:
        return names
    pairs = zip(table[by], names, strict=True)
    return [f"group {group}" if group else f"alone {name}" for group, name in pairs]


def _random_places(names: Sequence[str], seed: int) -> np.ndarray:
    """A random number per name : uint64 (n,), from only the seed and the name."""
    digests = (hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8) for name in names)
    return np.array([int.from_bytes(d.digest(), "big") for d in digests], dtype=np.uint64)
