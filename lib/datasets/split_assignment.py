"""Divide the recordings of a data set: draw splits with a seed, or follow a split.csv."""

from __future__ import annotations

import pandas as pd

from lib.console import say
from lib.corpora.csv_tables import refuse
from lib.datasets import splits
from lib.datasets.request import Request


def divide(request: Request, table: pd.DataFrame, same: pd.Series) -> pd.DataFrame:
    """The columns split and, if requested, fold for the recordings of `table`.

    same : equal values for recordings with the same frames
    """
    classes = table[request.stratify]
    together = splits.kept_together(table, "group" if request.groups else None, same)
    columns = pd.DataFrame(index=table.index)
    if request.given is None:
        columns["split"] = splits.assign(classes, together, request.shares, request.seed)
    else:
        rows = request.given.set_index("recording").loc[table["recording"]]
        columns["split"] = rows["split"].to_numpy()
        if "fold" in rows and not request.folds:
            columns["fold"] = rows["fold"].to_numpy()
        if request.groups:
            sides = columns["split"].groupby(together).transform("nunique")
            divided = table.loc[sides > 1, "group"].unique()
            refuse(
                list(divided),
                f"the split that was given divides {len(divided)} {request.groups}s",
                "leave out --groups, or correct it",
            )
        splits.check_classes(classes, columns["split"], list(request.shares))
    if request.folds:
        shares = splits.fold_shares(request.folds, len(table))
        columns["fold"] = splits.assign(classes, together, shares, request.seed)
    return columns


def recordings_of(request: Request, corpora: list[pd.DataFrame]) -> pd.DataFrame:
    """The recordings that a given split names, in its corpus or corpora."""
    given, path = request.given, request.split
    table = pd.concat(corpora, ignore_index=True)
    if len(corpora) > 1:
        table["recording"] = table["language"] + "/" + table["recording"]
    missing = given.loc[~given["recording"].isin(table["recording"]), "recording"]
    refuse(
        list(missing),
        f"{path} names {len(missing)} of {len(given)} recordings that the corpus does not have",
        "add them, or take the rows out",
    )
    named = table[table["recording"].isin(given["recording"])].reset_index(drop=True)
    if len(named) < len(table):
        say(f"{len(table) - len(named)} recordings of the corpus are not in {path}: left out")
    if "quadrant" in given:
        quadrant = given.set_index("recording").loc[named["recording"], "quadrant"].to_numpy()
        other = named.loc[(quadrant != named["quadrant"]) & (quadrant != ""), "recording"]
        refuse(
            list(other),
            f"{path} gives {len(other)} recordings another quadrant than the corpus",
            "use the annotations that the split was made with",
        )
    return named
