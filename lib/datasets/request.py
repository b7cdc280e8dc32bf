"""What the data set stage is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lib.configuration import Settings
from lib.datasets import splits
from lib.errors import UserError


@dataclass(frozen=True)
class Request:
    """A data set to make: which recordings, and how they are divided.

    kind : "speech" or "music"
    language : "e", "m", or (speech) "x" for equal durations of both
    hours : drawn in all with the seed; 0 takes everything, None what the settings say
    table : annotation table to use instead of the corpus's own (music)
    groups : "artist" (music) or "speaker" keeps the recordings of each on one side
    folds : number of folds for cross-validation; 0: none
    split : a split.csv to reproduce
    min_agreement : share of a song's annotators who must agree with its quadrant
    agreement : report on the annotators of music, and do nothing else
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

    @property
    def seed(self) -> int:
        """The seed of all draws."""
        return self.settings["run"]["seed"]

    @property
    def total_hours(self) -> float:
        """Hours to draw of all languages together; 0 takes everything."""
        if self.hours is not None:
            return self.hours
        return 0.0 if self.split else self.settings["dataset"][f"{self.kind}_hours"]

    @property
    def stratify(self) -> str:
        """The column whose classes every split has."""
        return "quadrant" if self.kind == "music" else "language"

    @property
    def test_share(self) -> float:
        """The share of all recordings for the test."""
        return self.settings["dataset"]["test"] if self.kind == "music" else 0

    @property
    def shares(self) -> dict[str, float]:
        """The share of all recordings of each split."""
        return splits.shares_of(self.test_share, self.settings["dataset"]["val"])
