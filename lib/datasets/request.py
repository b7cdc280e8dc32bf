"""Describe a requested data set: the arguments of the data set stage."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from lib.configuration import Settings
from lib.corpora.csv_tables import read_csv, refuse, require
from lib.datasets import splits
from lib.errors import UserError


@dataclass(frozen=True)
class Request:
    """A data set to make: which recordings, and how they are divided.

    kind : "speech" or "music"
    language : "e", "m", or (speech) "x" for equal durations of both
    hours : drawn in all with the seed; 0: everything, None: as in the settings
    table : annotation table to use instead of the corpus's own (music)
    groups : "artist" (music) or "speaker": the recordings of each stay on one side
    folds : number of folds for cross-validation; 0: none
    split : a split.csv to reproduce
    min_agreement : share of a song's annotators who must agree with its quadrant
    agreement : only report on the annotators of music
    scheduler : address of a Dask scheduler whose workers extract; None extracts here
    overwrite : replace a data set of other settings
    allow_skips : accept more unusable recordings than dataset.max_lost

    Raises UserError when parts of it contradict each other.
    """

    kind: str
    language: str
    settings: Settings
    hours: float | None = None
    table: Path | None = None
    groups: str | None = None
    folds: int = 0
    split: Path | None = None
    min_agreement: float = 0.0
    agreement: bool = False
    scheduler: str | None = None
    overwrite: bool = False
    allow_skips: bool = False

    def __post_init__(self):
        if self.kind == "music" and self.language == "x":
            raise UserError(
                "there is no mixture of music: --language x goes with --dataset s; use e, m"
            )
        if self.groups and (self.groups == "artist") != (self.kind == "music"):
            raise UserError("--groups artist goes with music, --groups speaker with speech")
        if self.split and (self.hours is not None or self.min_agreement):
            raise UserError("--split names the recordings: leave out --hours and --min-agreement")
        if self.kind == "speech" and (self.agreement or self.min_agreement):
            raise UserError("speech has no annotators: --agreement goes with music (--dataset m)")

    @cached_property
    def given(self) -> pd.DataFrame | None:
        """The split to reproduce, as read by `read_split`."""
        return read_split(self.split) if self.split else None

    @property
    def seed(self) -> int:
        """The seed of all draws."""
        return self.settings["run"]["seed"]

    @property
    def total_hours(self) -> float:
        """Hours to draw of all languages together; 0: everything."""
        if self.hours is not None:
            return self.hours
        return 0.0 if self.split else self.settings["dataset"][f"{self.kind}_hours"]

    @property
    def stratify(self) -> str:
        """The column whose classes are in every split."""
        return "quadrant" if self.kind == "music" else "language"

    @property
    def test_share(self) -> float:
        """The share of all recordings for the test."""
        return self.settings["dataset"]["test"] if self.kind == "music" else 0

    @property
    def shares(self) -> dict[str, float]:
        """The share of all recordings of each split."""
        return splits.shares_of(self.test_share, self.settings["dataset"]["val"])


def read_split(path: Path) -> pd.DataFrame:
    """Read a split.csv: recording, split, optional quadrant and fold."""
    table = read_csv(path, strip=False)
    require(table, ["recording", "split"], path)
    if "fold" in table:
        wrong = table.loc[~table["fold"].str.fullmatch(r"[1-9]\d*"), "fold"]
        refuse(list(wrong), f"{path} has folds that are no numbers", "legal are 1, 2, …")
    wrong = table[~table["split"].isin(splits.SPLITS)]
    refuse(
        list(wrong["recording"] + " (" + wrong["split"] + ")"),
        f"{path} has splits that do not exist",
        f"legal are {', '.join(splits.SPLITS)}",
    )
    twice = table.loc[table["recording"].duplicated(), "recording"]
    refuse(list(twice), f"{path} names recordings more than once", "keep one row of each")
    if table.empty:
        raise UserError(f"{path} names no recording")
    return table
