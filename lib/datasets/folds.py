"""Divide all recordings of a data set into folds, for cross-validation.

Every recording is in the test of one fold. Of the other recordings of a fold, a share (dataset.val)
is for validation, the rest for training. Both draws are stratified by quadrant and, on request,
keep artists on one side. Recordings with the same log-mel frames always stay together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lib.artefacts import files, run_record
from lib.console import say
from lib.corpora.artists import artist_groups
from lib.corpora.csv_tables import read_csv
from lib.datasets import splits
from lib.datasets.windows import Windows
from lib.errors import UserError

AGAIN = "make the data set again with its own command and --overwrite"


@dataclass(frozen=True)
class Folds:
    """How a data set is cross-validated; groups : "artist" keeps each artist on one side."""

    count: int
    groups: str | None = None

    @property
    def name(self) -> str:
        """The name in run directories."""
        return f"{self.groups}_folds_{self.count}" if self.groups else f"folds_{self.count}"


@dataclass(frozen=True)
class Part:
    """One fold: its number, from 1, and the recordings of each split, as rows of the pool.

    inner : number, from 1, of a fold inside this one, or None
    """

    number: int
    rows: Mapping[str, np.ndarray]
    inner: int | None = None


def divide(pool: Windows, folds: Folds, folder: Path, val: float, seed: int) -> Iterator[Part]:
    """The folds of a data set.

    pool : all of its recordings; folder : of the data set, whose split.csv gives the folds if it
    has the requested number; val : share of the recordings outside the test for validation

    Raises UserError when artists are requested but not known, when given folds divide an artist,
    and when a split lacks a class.
    """
    table = pool.table
    shares = splits.fold_shares(folds.count, len(table))
    if folds.groups and (table["group"] == "").all():
        raise UserError(
            f"no {folds.groups} is known of any of the {len(table)} recordings: leave out "
            "--groups, or make the data set from a table with a column group"
        )
    if folds.groups:
        _report_spellings(folder, table["group"])
    together = _together(table, folds)
    fold = _given(folder, table, folds.count)
    if fold is None:
        fold = splits.assign(table["quadrant"], together, shares, seed)
    divided = fold.groupby(together).nunique() > 1
    if divided.any():
        kind = f"{folds.groups}s" if folds.groups else "sets of equal recordings"
        leave = "leave out --groups, " if folds.groups else ""
        raise UserError(
            f"the folds in {folder / 'split.csv'} divide {divided.sum()} {kind}: {leave}ask for "
            "another number of folds, or make the data set again"
        )
    for number in shares:
        yield Part(number, _rows(table, fold == number, together, val, seed))


def _report_spellings(folder: Path, group: pd.Series) -> None:
    """Print how many artists an older data set has under several names."""
    names = group[group != ""].unique().tolist()
    several = len(names) - len(set(artist_groups(names)))
    if several:
        say(
            f"{folder} was made before spellings of an artist were joined: {several} more names "
            "than artists, whose clips can be in several folds. Make the data set again with "
            "--overwrite"
        )


def divide_inner(pool: Windows, part: Part, folds: Folds, val: float, seed: int) -> Iterator[Part]:
    """The folds inside one fold: they divide its recordings for training and validation.

    folds : how many, and what stays together; the other parameters as in `divide`
    """
    learnt = np.sort(np.concatenate([part.rows["train"], part.rows["val"]]))
    table = pool.table.iloc[learnt].set_axis(learnt)
    together, shares = _together(table, folds), splits.fold_shares(folds.count, len(table))
    fold = splits.assign(table["quadrant"], together, shares, seed)
    for number in shares:
        rows = _rows(table, fold == number, together, val, seed)
        yield Part(part.number, rows, inner=number)


def _together(table: pd.DataFrame, folds: Folds) -> pd.Series:
    """The sets of recordings that folds must not divide, as in splits.kept_together."""
    same = table["digest"] if "digest" in table else table["recording"]
    return splits.kept_together(table, "group" if folds.groups else None, same)


def _rows(
    table: pd.DataFrame, test: pd.Series, together: pd.Series, val: float, seed: int
) -> dict[str, np.ndarray]:
    """The recordings of each split of a fold, by the index of `table`; test : bool (n,)."""
    rest = table[~test]
    split = splits.assign(rest["quadrant"], together[rest.index], splits.shares_of(0, val), seed)
    rows = {name: rest.index[split == name].to_numpy() for name in ("train", "val")}
    return rows | {"test": table.index[test].to_numpy()}


def _given(folder: Path, table: pd.DataFrame, count: int) -> pd.Series | None:
    """The folds in the data set's split.csv, if there are `count` of them."""
    path = folder / "split.csv"
    record = files.read_json(folder / "dataset.json", AGAIN) or {}
    run_record.check_files(folder, record, [path.name])
    if not path.is_file():
        return None
    given = read_csv(path, strip=False)
    if not {"recording", "fold"} <= set(given):
        return None
    rows = given[["recording", "fold"]].drop_duplicates()
    twice = rows["recording"][rows["recording"].duplicated()].unique()
    if len(twice):
        raise UserError(f"{path} has {twice[0]} in several folds ({len(twice)} such): {AGAIN}")
    fold = rows.set_index("recording")["fold"]
    lost = table["recording"][~table["recording"].isin(fold.index)].tolist()
    if lost:
        raise UserError(f"{path} lacks {len(lost)} recordings, such as {lost[0]}: {AGAIN}")
    fold = pd.to_numeric(table["recording"].map(fold), errors="coerce")
    if set(fold) != set(range(1, count + 1)):
        say(f"the folds in {path} are not 1 to {count} for every recording: others are drawn")
        return None
    say(f"folds as in {path}")
    return fold.astype("int64")
