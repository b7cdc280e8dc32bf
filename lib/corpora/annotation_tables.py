"""Read annotation tables of music: songs with quadrant, arousal and valence.

There are two kinds of table, both CSV:
    the authors'   Songs (path below the corpus), Quads (Q1 … Q4), optional Arousal, Valence
    ratings        song, arousal, valence, optional annotator: a row per song and annotator
Both may have a column group (artist): recordings of a group can be kept on one side of a split.
Names of columns may be in upper or lower case. Ratings may have a decimal comma if the cells are
not separated by commas. A table that cannot be understood is an error; it is never ignored.

A song's rating is the mean over its annotators, its quadrant the signs of arousal and valence:
Q1 = ++, Q2 = +-, Q3 = --, Q4 = -+. A rating of exactly 0 counts as positive (our choice); the
reader prints how many there are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lib.corpora.csv_tables import has_columns, read_csv, read_header, read_named, refuse, tables
from lib.corpora.recording_names import Files
from lib.errors import UserError
from lib.labels import QUADRANT_SIGNS, QUADRANTS, SOUND

AXES = ("arousal", "valence")
# the columns that a table of either kind needs, and those that it may have
AUTHORS, AUTHORS_MORE = ("Songs", "Quads"), ("Arousal", "Valence", "group")
RATINGS, RATINGS_MORE = ("song", *AXES), ("annotator", "group")
BLANK = ("", "nan", "na", "n/a", "none", "null")  # how tables write a missing rating
LOOKED_AT = 20  # number of first lines searched for a header that is not understood [our choice]


def quadrant_of(arousal: np.ndarray, valence: np.ndarray) -> np.ndarray:
    """Quadrant names : str (n,) by the signs of arousal and valence : float (n,); 0 is positive."""
    names = {signs: name for name, signs in QUADRANT_SIGNS.items()}
    pairs = zip(np.asarray(arousal) >= 0, np.asarray(valence) >= 0, strict=True)
    return np.array([names[int(a), int(v)] for a, v in pairs], dtype=object)


def find_table(folder: Path) -> Path | None:
    """The one table with the authors' columns in a folder, if there is one.

    UserError if a table in the folder cannot be read, or has labels that are not understood.
    """
    authors = [path for path in tables(folder) if has_columns(_columns(path), AUTHORS)]
    if len(authors) > 1:
        names = ", ".join(path.name for path in authors)
        raise UserError(f"{folder} has several annotation tables ({names}): choose with --table")
    return authors[0] if authors else None


def find_ratings(folder: Path) -> Path:
    """The one table of ratings in a folder; UserError otherwise."""
    ratings = [path for path in tables(folder) if has_columns(_columns(path), RATINGS)]
    if len(ratings) != 1:
        names = ", ".join(path.name for path in ratings or tables(folder)) or "none"
        raise UserError(
            f"expected one table of ratings (song, arousal, valence; a row per annotator) in "
            f"{folder}, found {names}: keep one there"
        )
    return ratings[0]


def is_ratings(table: Path) -> bool:
    """Whether a table has the columns of ratings and not those of the authors' tables."""
    columns, _ = read_header(table)
    return has_columns(columns, RATINGS) and not has_columns(columns, AUTHORS)


def read_authors(table: Path, folder: Path) -> pd.DataFrame:
    """Songs of an authors' annotation table: song, quadrant, arousal, valence, group, path.

    folder : the paths in Songs are relative to it
    """
    frame = _read_whole(table, AUTHORS, AUTHORS_MORE)
    songs = frame[["Songs", "Quads", "group"]].set_axis(["song", "quadrant", "group"], axis=1)
    for axis in AXES:
        column = axis.capitalize()
        songs[axis] = np.nan
        if column in frame:
            rated = ~frame[column].str.lower().isin(BLANK)
            songs[axis] = _numbers(frame[rated], column, table)
    files = Files()
    songs["path"] = [files.below(folder, song) for song in songs["song"]]
    return songs


def read_ratings(table: Path) -> pd.DataFrame:
    """Ratings in long form: song, annotator, arousal, valence (float64), group.

    Raises UserError naming the rows that are not understood. Without a column annotator, the
    annotators of a song are numbered in the order of its rows.
    """
    frame = _read_whole(table, RATINGS, RATINGS_MORE)
    frame["song"] = [_stem(song) for song in frame["song"]]
    if "annotator" not in frame:
        frame["annotator"] = frame.groupby("song").cumcount().astype(str)
    for axis in AXES:
        frame[axis] = _numbers(frame, axis, table)
    groups = frame[frame["group"] != ""].groupby("song")["group"].nunique()
    refuse(groups.index[groups > 1], f"{table} puts songs into more than one group", "correct it")
    twice = frame[frame.duplicated(["song", "annotator"])]
    refuse(
        [
            f"row {row + 2}: {song}, {who}"
            for row, song, who in twice[["song", "annotator"]].itertuples()
        ],
        f"{table} has more than one rating of a song by an annotator",
        "keep one",
    )
    return frame[["song", "annotator", *AXES, "group"]]


def mean_ratings(ratings: pd.DataFrame) -> pd.DataFrame:
    """Songs with their mean arousal and valence, quadrant and group (of any of its rows)."""
    # sums of decimal fractions such as 0.1 + 0.2 - 0.3 are not quite 0: round to 1e-9
    means = ratings.groupby("song")[list(AXES)].mean().round(9) + 0.0
    means["group"] = ratings.groupby("song")["group"].max()
    means["quadrant"] = quadrant_of(means["arousal"], means["valence"])
    return means.reset_index()


def check_centred(means: pd.DataFrame, table: Path) -> None:
    """Raise UserError when ratings are not on a scale around 0: their signs would mean nothing."""
    for axis in AXES:
        if len(means) and (means[axis] >= 0).nunique() == 1:
            raise UserError(
                f"{table}: mean {axis} never changes its sign ({means[axis].min():g} to "
                f"{means[axis].max():g}): ratings must be centred on 0, for example in [-10, 10]"
            )


def read_labels(folder: Path, needed: bool) -> pd.DataFrame | None:
    """The authors' table in a folder, indexed by row number from 0: recording, group, quadrant,
    arousal, valence. Does not look for sound files. None if there is no table and none is needed.
    """
    table = find_table(folder)
    if table is None:
        if needed:
            raise UserError(
                f"{folder} holds processed files, but no annotation table (CSV with the columns "
                "Songs and Quads) that says which song each row number is: put it there"
            )
        return None
    frame = read_authors(table, folder)
    check_quadrants(frame, table)
    frame["recording"] = [_stem(song.removeprefix("./")) for song in frame["song"]]
    twice = frame.loc[frame["recording"].duplicated(), "recording"].unique()
    refuse(twice, f"{table} names songs more than once", "keep one row per song")
    if frame.empty:
        raise UserError(f"{table} has no rows: put there the table that the files were made with")
    tell(table, (*AUTHORS, *AUTHORS_MORE), len(frame))
    return frame[["recording", "group", "quadrant", *AXES]]


def check_quadrants(frame: pd.DataFrame, table: Path) -> None:
    """Convert quadrants to upper case, in place; UserError names those that do not exist."""
    frame["quadrant"] = frame["quadrant"].astype(str).str.strip().str.upper()
    wrong = frame[~frame["quadrant"].isin(QUADRANTS)]
    refuse(
        [
            f"{song} ({quadrant})"
            for song, quadrant in zip(wrong["song"], wrong["quadrant"], strict=True)
        ],
        f"{table} has quadrants that do not exist",
        f"legal are {', '.join(QUADRANTS)}",
    )


def tell(table: Path, columns: Sequence[str], songs: int, what: str = "labels") -> None:
    """Print which table the labels come from, and which of `columns` it has."""
    frame = read_csv(table)
    present = ", ".join(name for name in columns if has_columns(frame, [name]))
    encoding = frame.attrs["encoding"]
    read_as = "" if encoding == "UTF-8" else f"; read as {encoding}"
    print(f"{what}: {table} (columns {present}; {songs} songs{read_as})", flush=True)


def _columns(path: Path) -> list[str]:
    """The columns of a table in a corpus's folder, which need not be an annotation table.

    UserError if it cannot be read, or has labels but no header that is understood.
    """
    advice = f"correct it, move it out of {path.parent}, or choose a table with --table"
    try:
        columns, text = read_header(path)
    except UserError as error:
        raise UserError(f"{error}; {advice}") from error
    line = _line_of_labels(text, columns)
    if line and not has_columns(columns, AUTHORS) and not has_columns(columns, RATINGS):
        raise UserError(
            f"{path} holds labels, but its header is not understood (line {line}): expected the "
            f"columns {' and '.join(AUTHORS)}, or {', '.join(RATINGS)}, in the first line, between "
            f"commas, semicolons or tabs; {advice}"
        )
    return columns


def _line_of_labels(text: str, header: Sequence[str]) -> int:
    """The first line that names columns of labels, or 1 if a row of labels is in the place of the
    header; 0 if there is neither."""
    if any(name.upper() in QUADRANTS or name.lower().endswith(SOUND) for name in header):
        return 1
    for number, line in enumerate(text.splitlines()[:LOOKED_AT], 1):
        words = set(re.findall(r"\w+", line.lower()))
        if "quads" in words or (set(AXES) <= words and words & {"song", "songs"}):
            return number
    return 0


def _read_whole(table: Path, needed: Sequence[str], others: Sequence[str]) -> pd.DataFrame:
    """A table with group; UserError if an unclosed double quote joined several rows in a cell."""
    frame = read_named(table, needed, others)
    taken = []
    for column in frame:
        for row, cell in frame[column][frame[column].str.contains(r"[\r\n]")].items():
            pieces = pd.Series(re.split(r"[,;\t\r\n]+", cell)).str.strip().str.lower()
            labels = pieces.isin([q.lower() for q in QUADRANTS]) | pieces.str.endswith(SOUND)
            if labels.any() or pd.to_numeric(pieces, errors="coerce").notna().sum() > 1:
                taken.append(f"row {row + 2}, column {column}: {cell[:60]!r}")
    refuse(taken, f"{table} has cells that hold other rows", "close the double quotes")
    return frame if "group" in frame else frame.assign(group="")


def _numbers(frame: pd.DataFrame, column: str, table: Path) -> pd.Series:
    """Ratings : float64; UserError names those that are not numbers."""
    text = frame[column]
    if frame.attrs["delimiter"] != ",":
        text = text.str.replace(",", ".")
    numbers = pd.to_numeric(text, errors="coerce").astype(float)
    bad = frame.loc[~(numbers.abs() < 1e6), column]
    refuse(
        [f"row {row + 2}: {cell}" for row, cell in bad.items()],
        f"{table} has ratings of {column} that are not numbers",
        "expected numbers, for example in [-10, 10]",
    )
    return numbers


def _stem(song: str) -> str:
    """A song's name without the suffix of a sound file; other suffixes are kept."""
    return song[: -len(Path(song).suffix)] if Path(song).suffix.lower() in SOUND else song
