"""How the recordings of a data set are divided: drawn with a seed, or as a split.csv says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lib.console import say
from lib.corpora.annotation_tables import read_csv, refuse, require
from lib.datasets import splits
from lib.errors import UserError


@dataclass(frozen=True)
class Division:
    """A way to divide recordings.

    given : a split.csv as of `read_split`, or None
    shares : test and val, as of lib.datasets.splits.split
    stratify : column whose classes every split has
    groups : "artist" or "speaker", whose recordings stay on one side, or None
    folds : number of folds, 0 for none
    seed : of the draw
    """

    given: pd.DataFrame | None
    shares: Mapping
    stratify: str
    groups: str | None
    folds: int
    seed: int

    def of(self, table: pd.DataFrame, same: pd.Series) -> pd.DataFrame:
        """The columns split and, where asked for, fold for the recordings of `table`.

        same : equal values for recordings with the same samples
        """
        by = "group" if self.groups else None
        together = splits.kept_together(table, by, same)
        options = {"stratify": self.stratify, "seed": self.seed, "together": together}
        found = pd.DataFrame(index=table.index)
        if self.given is None:
            found["split"] = splits.split(table, **self.shares, **options)
        else:
            rows = self.given.set_index("recording").loc[table["recording"]]
            found["split"] = rows["split"].to_numpy()
            if "fold" in rows and not self.folds:
                found["fold"] = rows["fold"].to_numpy()
            if by:
                groups = found["split"].groupby(together).nunique()
                torn = table.loc[together.isin(groups.index[groups > 1]), "group"].unique()
                refuse(
                    list(torn),
                    f"the split that was given tears {len(torn)} {self.groups}s",
                    "leave out --groups, or mend it",
                )
            needed = list(splits.shares_of(**self.shares))
            splits.check_classes(table[self.stratify], found["split"], needed)
        if self.folds > len(table):
            raise UserError(f"--folds {self.folds}: there are {len(table)} recordings")
        if self.folds:
            found["fold"] = splits.folds(table, k=self.folds, **options)
        return found

    def tell(self, table: pd.DataFrame) -> None:
        """Say which recordings are the same, what stays together, and how far shares are off."""
        copies = table[table["same_as"] != ""]
        if len(copies):
            shown = ", ".join(f"{r.recording} = {r.same_as}" for r in copies[:3].itertuples())
            shown += ", …" if len(copies) > 3 else ""
            kept = ", kept on one side" if self.given is None else ""
            say(f"{len(copies)} recordings have the samples of another{kept}: {shown}")
            labels = table.groupby("digest")["quadrant"].nunique()
            if (labels > 1).any():
                torn = (labels > 1).sum()
                say(f"  {torn} of these sounds have more than one quadrant: mend that")
        if self.given is not None:
            groups, sounds = (
                int((table[table[column] != ""].groupby(column)["split"].nunique() > 1).sum())
                for column in ("group", "digest")
            )
            say(
                f"split as given; {groups} groups (artist, speaker) and {sounds} sounds are on "
                "more than one side"
            )
        elif self.groups:
            known = table.loc[table["group"] != "", "group"]
            alone = len(table) - len(known)
            say(
                f"{known.nunique()} {self.groups}s, each on one side"
                + (f"; of {alone} recordings it is not known, they go alone" if alone else "")
            )
        wanted = {}
        if self.given is None:
            wanted["split"] = splits.shares_of(**self.shares)
        if self.folds:
            wanted["fold"] = dict.fromkeys(range(1, self.folds + 1), 1 / self.folds)
        for column, shares in wanted.items():
            off, name, part = splits.deviation(table[self.stratify], table[column], shares)
            where = f"{name} in {'fold ' if column == 'fold' else ''}{part}"
            most = f"at most {off:.1f} of {len(table)} recordings"
            say(f"{column}s: off their shares by {most} ({where})")


def read_split(path: Path) -> pd.DataFrame:
    """A split.csv: recording, split, and if there are quadrant and fold."""
    table = read_csv(path, strip=False)
    require(table, ["recording", "split"], path)
    if "fold" in table:
        wrong = table[~table["fold"].str.fullmatch(r"[1-9]\d*")]
        refuse(list(wrong["fold"]), f"{path} has folds that are no numbers", "legal are 1, 2, …")
    wrong = table[~table["split"].isin(splits.SPLITS)]
    refuse(
        [f"{r} ({s})" for r, s in zip(wrong["recording"], wrong["split"], strict=True)],
        f"{path} has splits that do not exist",
        f"legal are {', '.join(splits.SPLITS)}",
    )
    twice = table.loc[table["recording"].duplicated(), "recording"]
    refuse(list(twice), f"{path} names recordings more than once", "keep one row of each")
    if table.empty:
        raise UserError(f"{path} names no recording")
    return table


def recordings_of(
    corpus: list[pd.DataFrame], given: pd.DataFrame, mixed: bool, path: Path
) -> pd.DataFrame:
    """The recordings that a split names, in its corpus or corpora."""
    table = pd.concat(corpus, ignore_index=True)
    if mixed:
        table["recording"] = table["language"] + "/" + table["recording"]
    missing = given.loc[~given["recording"].isin(table["recording"]), "recording"]
    refuse(
        list(missing),
        f"{path} names {len(missing)} of {len(given)} recordings that the corpus does not have",
        "bring them, or take the rows out",
    )
    found = table[table["recording"].isin(given["recording"])].reset_index(drop=True)
    if len(found) < len(table):
        say(f"{len(table) - len(found)} recordings of the corpus are not in {path}: left out")
    if "quadrant" in given:
        there = given.set_index("recording").loc[found["recording"], "quadrant"].to_numpy()
        other = found[(there != found["quadrant"]) & (there != "")]
        refuse(
            list(other["recording"]),
            f"{path} gives {len(other)} recordings another quadrant than the corpus",
            "use the annotations that the split was made with",
        )
    return found
