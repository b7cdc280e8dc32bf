"""Who goes where: draws by hours, the mixture, and stratified splits. All seeded.

Knows tables, not sound: durations come from a function that the caller passes in.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from lib.errors import UserError

SPLITS = ("train", "val", "test")


def draw_hours(
    table: pd.DataFrame, hours: float, seconds_of: Callable[[str], float], seed: int
) -> pd.DataFrame:
    """Draw recordings in seeded random order until `hours` are reached.

    Parameters
    ----------
    table : recordings, as of lib.corpora
    hours : how much to draw; 0 takes all
    seconds_of : path -> duration in seconds, 0 where a file cannot be read (it is drawn, so that
        extraction can report it)
    seed : of the order; a draw of fewer hours with the same seed is contained in one of more

    Returns the drawn rows with a column `seconds`, in the table's order.
    """
    order = np.random.default_rng(seed).permutation(len(table))
    paths = table["path"].to_numpy()
    taken, seconds, total = [], [], 0.0
    for row in order:
        if hours and total >= hours * 3600:
            break
        taken.append(row)
        seconds.append(seconds_of(paths[row]))
        total += seconds[-1]
    return table.iloc[taken].assign(seconds=seconds).sort_index().reset_index(drop=True)


def mixture(tables: list[pd.DataFrame], hours: float, seed: int) -> pd.DataFrame:
    """Equal durations of each table (already drawn, with `seconds`), `hours` in all.

    With `hours` 0, or more than there is, each gives as much as the shortest holds.
    """
    share = min(float(table["seconds"].sum()) for table in tables)
    if hours:
        share = min(share, hours * 3600 / len(tables))
    parts = []
    for table in tables:
        known = dict(zip(table["path"], table["seconds"], strict=True))
        parts.append(draw_hours(table, share / 3600, known.__getitem__, seed))
    mixed = pd.concat(parts, ignore_index=True)
    mixed["recording"] = mixed["language"] + "/" + mixed["recording"]
    return mixed


def split(
    table: pd.DataFrame, *, stratify: str, test: float, val: float, seed: int
) -> dict[str, pd.DataFrame]:
    """Disjoint, exhaustive splits with the same shares of every class of the column `stratify`.

    Parameters
    ----------
    test : share of all recordings for the test; 0 makes no test split
    val : share of the others for validation

    Returns {"train", "val"} and, where asked for, "test". Raises UserError when a class has too
    few recordings to stand in every split.
    """
    parts = {}
    rest = table
    if test:
        rest, parts["test"] = _cut(rest, stratify, test, seed, table)
    parts["train"], parts["val"] = _cut(rest, stratify, val, seed, table)
    return {name: parts[name].reset_index(drop=True) for name in SPLITS if name in parts}


def _cut(table: pd.DataFrame, stratify: str, share: float, seed: int, whole: pd.DataFrame):
    try:
        return train_test_split(
            table, test_size=share, stratify=table[stratify], random_state=seed, shuffle=True
        )
    except ValueError as error:
        counts = ", ".join(f"{k}: {n}" for k, n in whole[stratify].value_counts().items())
        raise UserError(
            f"too few recordings to split by {stratify} ({counts}): every class needs some in "
            f"every split; bring more recordings or change dataset.test and dataset.val"
        ) from error
