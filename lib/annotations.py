"""Tables that say what music sounds like -> songs with quadrant, arousal and valence.

Two kinds of table in CSV (UTF-8, with or without a byte-order mark, any line ends):
    the authors'   Songs (path below the corpus), Quads (Q1 … Q4), and if there are Arousal, Valence
    ratings        song, arousal, valence, and if there is annotator: a row per song and annotator
Either may bring a column group (artist): recordings of a group can be kept on one side of a split.

A song's rating is the mean over its annotators, its quadrant the signs of arousal and valence:
Q1 = ++, Q2 = +-, Q3 = --, Q4 = -+. A rating of exactly 0 counts as positive (our choice: half of a
scale that includes 0 on one side); the reader says how often that decides.
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import numpy as np
import pandas as pd

from lib.errors import UserError
from lib.registry import PLANE, QUADRANTS

AXES = ("arousal", "valence")
SOUND = (".mp3", ".wav", ".flac", ".ogg")


def quadrant_of(arousal: np.ndarray, valence: np.ndarray) -> np.ndarray:
    """Quadrant names : str (n,) by the signs of arousal and valence : float (n,); 0 is positive."""
    names = {signs: name for name, signs in PLANE.items()}
    pairs = zip(np.asarray(arousal) >= 0, np.asarray(valence) >= 0, strict=True)
    return np.array([names[int(a), int(v)] for a, v in pairs], dtype=object)


def find_table(folder: Path) -> Path | None:
    """The one table with the authors' columns in a folder, if there is one."""
    found = [path for path in tables(folder) if {"Songs", "Quads"} <= set(_header(path))]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{folder} has several annotation tables ({names}): choose with --table")
    return found[0] if found else None


def find_ratings(folder: Path) -> Path:
    """The one table of ratings in a folder; UserError otherwise."""
    found = [path for path in tables(folder) if {"song", *AXES} <= set(_header(path))]
    if len(found) != 1:
        there = ", ".join(path.name for path in found or tables(folder)) or "none"
        raise UserError(
            f"expected one table of ratings (song, arousal, valence; a row per annotator) in "
            f"{folder}, found {there}: keep one there"
        )
    return found[0]


def is_ratings(table: Path) -> bool:
    """Whether a table has the columns of ratings and not those of the authors' tables."""
    columns = set(read_csv(table).columns)
    return {"song", *AXES} <= columns and not {"Songs", "Quads"} <= columns


def read_authors(table: Path, folder: Path) -> pd.DataFrame:
    """Songs of an annotation table of the original: song, quadrant, arousal, valence, group, path.

    folder : what the paths in Songs start from
    """
    frame = read_csv(table)
    require(frame, ["Songs", "Quads"], table)
    frame = frame.drop(columns=["song", "quadrant", *AXES], errors="ignore")
    frame = frame.rename(columns={"Songs": "song", "Quads": "quadrant"})
    if "group" not in frame:
        frame["group"] = ""
    for axis in AXES:
        column = axis.capitalize()
        values = frame[column] if column in frame else pd.Series(np.nan, index=frame.index)
        frame[axis] = pd.to_numeric(values, errors="coerce")
    frame["path"] = [folder / song for song in frame["song"]]
    return frame


def read_ratings(table: Path) -> pd.DataFrame:
    """Ratings in long form: song, annotator, arousal, valence (float64), group.

    Raises UserError naming the rows that are not understood. Where no column says who rated, the
    annotators of a song are numbered in the order of its rows.
    """
    frame = read_csv(table)
    require(frame, ["song", *AXES], table)
    frame["song"] = [_stem(song) for song in frame["song"]]
    if "annotator" not in frame:
        frame["annotator"] = frame.groupby("song").cumcount().astype(str)
    if "group" not in frame:
        frame["group"] = ""
    for axis in AXES:
        numbers = pd.to_numeric(frame[axis], errors="coerce").astype(float)
        bad = frame.index[~(numbers.abs() < 1e6)]
        refuse(
            [f"row {row + 2}: {frame[axis][row]}" for row in bad],
            f"{table} has ratings of {axis} that are not numbers",
            "expected numbers, for example in [-10, 10]",
        )
        frame[axis] = numbers
    groups = frame[frame["group"] != ""].groupby("song")["group"].nunique()
    refuse(
        list(groups.index[groups > 1]), f"{table} puts songs into more than one group", "mend it"
    )
    twice = frame.index[frame.duplicated(["song", "annotator"])]
    refuse(
        [f"row {row + 2}: {frame['song'][row]}, {frame['annotator'][row]}" for row in twice],
        f"{table} has more than one rating of a song by an annotator",
        "keep one",
    )
    return frame[["song", "annotator", *AXES, "group"]]


def mean_ratings(ratings: pd.DataFrame) -> pd.DataFrame:
    """Songs with their mean arousal and valence, quadrant and group (of any of its rows)."""
    # sums of decimal fractions such as 0.1 + 0.2 - 0.3 are not quite 0: 1e-9 is
    means = ratings.groupby("song")[list(AXES)].mean().round(9) + 0.0
    means["group"] = ratings.groupby("song")["group"].max()
    means["quadrant"] = quadrant_of(means["arousal"], means["valence"])
    return means.reset_index()


def check_centred(means: pd.DataFrame, table: Path) -> None:
    """Raise UserError when ratings are not on a scale around 0, so that signs mean nothing."""
    for axis in AXES:
        if len(means) and (means[axis] >= 0).nunique() == 1:
            raise UserError(
                f"{table}: mean {axis} never changes its sign ({means[axis].min():g} to "
                f"{means[axis].max():g}): ratings must be centred on 0, for example in [-10, 10]"
            )


def read_labels(folder: Path, needed: bool) -> pd.DataFrame | None:
    """The authors' table in a folder, a row per row number: recording, group, quadrant, arousal,
    valence. Says nothing about sound files. None where there is none and none is needed.
    """
    table = find_table(folder)
    if table is None:
        if needed:
            raise UserError(
                f"{folder} holds processed files, but no annotation table (CSV with the columns "
                "Songs and Quads) that says what its row numbers are: put it there"
            )
        return None
    frame = read_authors(table, folder)
    check_quadrants(frame, table)
    frame["recording"] = [_stem(song.removeprefix("./")) for song in frame["song"]]
    twice = frame.loc[frame["recording"].duplicated(), "recording"].unique()
    refuse(list(twice), f"{table} names songs more than once", "keep one row per song")
    if frame.empty:
        raise UserError(f"{table} has no rows: put the table there that the files were made with")
    return frame[["recording", "group", "quadrant", *AXES]]


def check_quadrants(frame: pd.DataFrame, table: Path) -> None:
    """Write quadrants in upper case, in place; UserError names those that do not exist."""
    frame["quadrant"] = frame["quadrant"].astype(str).str.strip().str.upper()
    wrong = frame[~frame["quadrant"].isin(QUADRANTS)]
    refuse(
        [f"{s} ({q})" for s, q in zip(wrong["song"], wrong["quadrant"], strict=True)],
        f"{table} has quadrants that do not exist",
        f"legal are {', '.join(QUADRANTS)}",
    )


def check_files(frame: pd.DataFrame, table: Path, folder: Path) -> pd.DataFrame:
    """The songs of a table as recordings: UserError when a file is missing, twice or outside."""
    frame = frame.copy()
    refuse(
        [f"row {row + 2}" for row in frame.index[frame["song"].isin(("", ".", "./"))]],
        f"{table} has rows without a song",
        "name one in each row",
    )
    # by name alone: links are the user's own, ".." would leave the corpus
    root = Path(os.path.abspath(folder))
    try:
        places = [Path(os.path.abspath(path)) for path in frame["path"]]
        real = pd.Series(places, index=frame.index)
        missing = [path for path in frame["path"] if not Path(path).exists()]
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{table} names a file that cannot exist: {error}") from error
    outside = [path for path in real if not path.is_relative_to(root)]
    refuse(outside, f"{table} names files outside {folder}", "paths are relative to the corpus")
    twice = frame.loc[real.duplicated(), "song"].unique()
    refuse(list(twice), f"{table} names songs more than once", "keep one row per song")
    refuse(
        missing,
        f"{table} names {len(missing)} of {len(frame)} files that are not there",
        f"put them below {folder}, or take the rows out",
    )
    frame["recording"] = [path.relative_to(root).with_suffix("").as_posix() for path in real]
    same = frame.loc[frame["recording"].duplicated(), "song"].unique()
    refuse(list(same), f"{table} names songs that differ in their suffix alone", "keep one of each")
    frame["path"] = frame["path"].astype(str)
    frame["group"] = frame["group"].fillna("").astype(str)
    return frame


def tables(folder: Path) -> list[Path]:
    """The CSV files in a folder."""
    return sorted(path for path in folder.glob("*.csv") if path.is_file())


def read_csv(path: Path, strip: bool = True) -> pd.DataFrame:
    """Read a CSV of strings, with or without a byte-order mark; UserError where it is none.

    Blank lines are left out, short rows filled with "", names of columns and, with `strip`, cells
    stripped.
    """
    if not path.is_file():
        raise UserError(f"table not found: {path}")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if any(row)]
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path} is not a table in CSV (UTF-8): {error}") from error
    if not rows:
        raise UserError(f"{path} is empty, not a table in CSV")
    names = [name.strip() for name in rows.pop(0)]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise UserError(f"{path} has columns of the same name: {', '.join(twice)}")
    refuse(
        [f"row {i + 2}: {row[0]}" for i, row in enumerate(rows) if any(row[len(names) :])],
        f"{path} has rows with more cells than columns",
        "put a cell that holds a comma in double quotes",
    )
    cells = [[row[k] if k < len(row) else "" for row in rows] for k in range(len(names))]
    frame = pd.DataFrame({name: cells[k] for k, name in enumerate(names) if name}, dtype=object)
    return frame.apply(lambda column: column.str.strip()) if strip else frame


def require(frame: pd.DataFrame, columns: list[str], table: Path) -> None:
    """Raise UserError when a table lacks columns."""
    lacking = [name for name in columns if name not in frame]
    if lacking:
        raise UserError(
            f"{table} lacks the columns {', '.join(lacking)}; it has {', '.join(frame.columns)}"
        )


def refuse(bad: list, what: str, advice: str) -> None:
    """Raise UserError, showing the first few of what is bad, if anything is."""
    if bad:
        shown = ", ".join(str(item) for item in bad[:5]) + (", …" if len(bad) > 5 else "")
        raise UserError(f"{what}: {shown}; {advice}")


def _header(path: Path) -> list[str]:
    try:
        return list(read_csv(path).columns)
    except UserError:  # some other file that is named like a table
        return []


def _stem(song: str) -> str:
    """A song's name without the suffix of a sound file (and only that)."""
    return song[: -len(Path(song).suffix)] if Path(song).suffix.lower() in SOUND else song
