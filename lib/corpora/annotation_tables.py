"""Tables that say what music sounds like -> songs with quadrant, arousal and valence.

Two kinds of table in CSV:
    the authors'   Songs (path below the corpus), Quads (Q1 … Q4), and if there are Arousal, Valence
    ratings        song, arousal, valence, and if there is annotator: a row per song and annotator
Either may bring a column group (artist): recordings of a group can be kept on one side of a split.
Cells stand between commas, semicolons or tabs (with the latter two a rating may have a decimal
comma), in UTF-8, UTF-16 with a byte-order mark or Windows-1252, with any line ends. Names of
columns may be in upper or lower case. A table that is not understood is an error, never absent.

A song's rating is the mean over its annotators, its quadrant the signs of arousal and valence:
Q1 = ++, Q2 = +-, Q3 = --, Q4 = -+. A rating of exactly 0 counts as positive (our choice: half of a
scale that includes 0 on one side); the reader says how often that decides.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lib.corpora.recording_names import Files, by_suffix, is_utf8
from lib.errors import UserError
from lib.labels import PLANE, QUADRANTS, SOUND

AXES = ("arousal", "valence")
AUTHORS = ("Songs", "Quads")
RATINGS = ("song", *AXES)
DELIMITERS = (",", ";", "\t")  # the first where a header does not tell
# columns that the suite knows, by which the header tells the delimiter
KNOWN = {"songs", "quads", "song", "quadrant", *AXES, "annotator", "group", "artist", "recording"}
BLANK = ("", "nan", "na", "n/a", "none", "null")  # how tables write that there is no rating
LOOKED_AT = 20  # first lines that may hold a header that is not understood [our choice]


def quadrant_of(arousal: np.ndarray, valence: np.ndarray) -> np.ndarray:
    """Quadrant names : str (n,) by the signs of arousal and valence : float (n,); 0 is positive."""
    names = {signs: name for name, signs in PLANE.items()}
    pairs = zip(np.asarray(arousal) >= 0, np.asarray(valence) >= 0, strict=True)
    return np.array([names[int(a), int(v)] for a, v in pairs], dtype=object)


def find_table(folder: Path) -> Path | None:
    """The one table with the authors' columns in a folder, if there is one.

    UserError where a table of the folder cannot be read, or has labels that are not understood.
    """
    found = [path for path in tables(folder) if _has(_columns(path), AUTHORS)]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{folder} has several annotation tables ({names}): choose with --table")
    return found[0] if found else None


def find_ratings(folder: Path) -> Path:
    """The one table of ratings in a folder; UserError otherwise."""
    found = [path for path in tables(folder) if _has(_columns(path), RATINGS)]
    if len(found) != 1:
        there = ", ".join(path.name for path in found or tables(folder)) or "none"
        raise UserError(
            f"expected one table of ratings (song, arousal, valence; a row per annotator) in "
            f"{folder}, found {there}: keep one there"
        )
    return found[0]


def is_ratings(table: Path) -> bool:
    """Whether a table has the columns of ratings and not those of the authors' tables."""
    columns = list(read_csv(table).columns)
    return _has(columns, RATINGS) and not _has(columns, AUTHORS)


def read_authors(table: Path, folder: Path) -> pd.DataFrame:
    """Songs of an annotation table of the original: song, quadrant, arousal, valence, group, path.

    folder : what the paths in Songs start from
    """
    frame = read_named(table, [*AUTHORS, "Arousal", "Valence", "group"])
    require(frame, AUTHORS, table)
    _check_quotes(frame, table)
    frame = frame.drop(columns=["song", "quadrant", *AXES], errors="ignore")
    frame = frame.rename(columns={"Songs": "song", "Quads": "quadrant"})
    if "group" not in frame:
        frame["group"] = ""
    for axis in AXES:
        frame[axis] = np.nan
        if axis.capitalize() in frame:
            told = ~frame[axis.capitalize()].str.lower().isin(BLANK)
            frame.loc[told, axis] = _numbers(frame[told], axis.capitalize(), table)
    files = Files()
    frame["path"] = [files.below(folder, song) for song in frame["song"]]
    return frame


def read_ratings(table: Path) -> pd.DataFrame:
    """Ratings in long form: song, annotator, arousal, valence (float64), group.

    Raises UserError naming the rows that are not understood. Where no column says who rated, the
    annotators of a song are numbered in the order of its rows.
    """
    frame = read_named(table, [*RATINGS, "annotator", "group"])
    require(frame, RATINGS, table)
    _check_quotes(frame, table)
    frame["song"] = [_stem(song) for song in frame["song"]]
    if "annotator" not in frame:
        frame["annotator"] = frame.groupby("song").cumcount().astype(str)
    if "group" not in frame:
        frame["group"] = ""
    for axis in AXES:
        frame[axis] = _numbers(frame, axis, table)
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
    tell(table, [*AUTHORS, "Arousal", "Valence", "group"], len(frame))
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
        f"put them below {folder}, or take the rows out" + _unreadable_names(missing),
    )
    hidden = [p for p in real if any(part[0] == "." for part in p.relative_to(root).parts)]
    refuse(hidden, f"{table} names hidden files, which are no recordings", "take the rows out")
    frame["recording"] = [path.relative_to(root).with_suffix("").as_posix() for path in real]
    same = frame.loc[frame["recording"].duplicated(), "song"].unique()
    refuse(list(same), f"{table} names songs that differ in their suffix alone", "keep one of each")
    frame["path"] = frame["path"].astype(str)
    frame["group"] = frame["group"].fillna("").astype(str)
    return frame


def tables(folder: Path) -> list[Path]:
    """The tables (.csv, .tsv) in a folder."""
    return [path for path in by_suffix(folder, (".csv", ".tsv")) if path.is_file()]


def tell(table: Path, columns: Sequence[str], songs: int, what: str = "labels") -> None:
    """Print which table the labels come from, and those of `columns` that it has."""
    frame = read_named(table, columns)
    there = ", ".join(name for name in columns if name in frame)
    encoding = frame.attrs["encoding"]
    read_as = "" if encoding == "UTF-8" else f"; read as {encoding}"
    print(f"{what}: {table} (columns {there}; {songs} songs{read_as})", flush=True)


def read_named(table: Path, names: Sequence[str]) -> pd.DataFrame:
    """A table whose columns `names`, where it has them in another case, are called as here."""
    frame = read_csv(table)
    renamed = {}
    for name in names:
        same = [column for column in frame if column.lower() == name.lower()]
        if name in same or not same:
            continue
        if len(same) > 1:
            raise UserError(f"{table} has several columns {name}: {', '.join(same)}; keep one")
        # "quadrant" of ratings is not the "Quadrant" of 4Q-Emotion: each reader asks for its own
        renamed[same[0]] = name
    return frame.rename(columns=renamed)


def read_csv(path: Path, strip: bool = True) -> pd.DataFrame:
    """Read a CSV of strings; UserError where it is none.

    Blank lines are left out, short rows filled with "", names of columns and, with `strip`, cells
    stripped. attrs of the table tell its "delimiter" and "encoding".
    """
    if not path.is_file():
        raise UserError(f"table not found: {path}")
    text, encoding = _text(path)
    delimiter = _delimiter(text)
    try:
        rows = list(_rows(text, delimiter))
    except csv.Error as error:
        raise UserError(f"{path} is not a table in CSV: {error}") from error
    if not rows:
        raise UserError(f"{path} is empty, not a table in CSV")
    names = [name.strip() for name in rows.pop(0)]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise UserError(f"{path} has columns of the same name: {', '.join(twice)}")
    refuse(
        [f"row {i + 2}: {row[0]}" for i, row in enumerate(rows) if any(row[len(names) :])],
        f"{path} has rows with more cells than columns",
        f"put a cell that holds {_NAMES[delimiter]} in double quotes",
    )
    cells = [[row[k] if k < len(row) else "" for row in rows] for k in range(len(names))]
    frame = pd.DataFrame({name: cells[k] for k, name in enumerate(names) if name}, dtype=object)
    frame = frame.apply(lambda column: column.str.strip()) if strip else frame
    frame.attrs = {"delimiter": delimiter, "encoding": encoding}
    return frame


def require(frame: pd.DataFrame, columns: Sequence[str], table: Path) -> None:
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


_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab"}


def _text(path: Path) -> tuple[str, str]:
    """The text of a file and its encoding; UserError where that is in doubt."""
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = {"UTF-16": "utf-16"}
    else:
        encodings = {"UTF-8": "utf-8-sig"}
        # letters of UTF-8 among bytes that are not: a damaged file, no Windows-1252
        if not set(content.decode("utf-8-sig", "ignore")) - set(map(chr, range(128))):
            encodings["Windows-1252"] = "cp1252"
    for name, codec in encodings.items():
        try:
            text = content.decode(codec)
        except ValueError:
            continue
        control = r"[\0]" if name == "UTF-8" else r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]"
        if re.search(control, text):
            break
        # Excel's first line, which says what the header says as well
        return re.sub(r"\Asep=[,;\t](?=[\r\n])", "", text, flags=re.IGNORECASE), name
    raise UserError(
        f"{path} is not a table in CSV: its bytes are no text in UTF-8, in UTF-16 with a "
        "byte-order mark or in Windows-1252; save it as CSV (UTF-8)"
    )


def _delimiter(text: str) -> str:
    """What stands between cells: that which gives a header the most names that are known."""

    def found(delimiter: str) -> tuple[int, bool, int]:
        try:
            names = next(_rows(text, delimiter), [])
        except csv.Error:
            return -1, False, 0
        known = sum(name.strip().lower() in KNOWN for name in names)
        return known, delimiter == DELIMITERS[0] and len(names) > 1, len(names)

    return max(DELIMITERS, key=found)


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    """The rows of a table that are not blank; csv.Error names the lines of one with bad quotes."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    while True:
        first = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            what = {
                "unexpected end of data": "a double quote is opened and not closed",
                f"'{delimiter}' expected after '\"'": "text stands behind a closing double quote",
            }.get(str(error), str(error))
            raise csv.Error(
                f"the row of line {first}: {what}; put a cell with quotes in double quotes and "
                "write those inside it twice"
            ) from error
        if any(cell.strip() for cell in row):
            yield row


def _columns(path: Path) -> list[str]:
    """The columns of a table in a corpus's folder, which may be about something else altogether.

    UserError where it cannot be read, or has labels but no header that is understood.
    """
    advice = f"mend it, move it out of {path.parent}, or choose a table with --table"
    try:
        text, _ = _text(path)
        columns = [name.strip() for name in next(_rows(text, _delimiter(text)), [])]
    except csv.Error as error:
        raise UserError(f"{path} is not a table in CSV: {error}; {advice}") from error
    except UserError as error:
        raise UserError(f"{error}, or {advice}") from error
    if not columns:
        raise UserError(f"{path} is empty, not a table in CSV: {advice}")
    if _has(columns, AUTHORS) or _has(columns, RATINGS):
        return columns
    line = _line_of_labels(text, columns)
    if line:
        raise UserError(
            f"{path} holds labels, but its header is not understood (line {line}): expected the "
            f"columns {' and '.join(AUTHORS)}, or {', '.join(RATINGS)}, in the first line, between "
            f"commas, semicolons or tabs; {advice}"
        )
    return columns


def _line_of_labels(text: str, header: Sequence[str]) -> int:
    """The first line that names columns of labels, or is a row of them in the header's place; 0
    where there is none."""
    if any(name.upper() in QUADRANTS or name.lower().endswith(SOUND) for name in header):
        return 1
    for number, line in enumerate(text.splitlines()[:LOOKED_AT], 1):
        words = set(re.findall(r"\w+", line.lower()))
        if "quads" in words or (set(AXES) <= words and words & {"song", "songs"}):
            return number
    return 0


def _has(columns: Sequence[str], names: Sequence[str]) -> bool:
    """Whether there are columns of these names, in whatever case."""
    return {name.lower() for name in names} <= {column.lower() for column in columns}


def _numbers(frame: pd.DataFrame, column: str, table: Path) -> pd.Series:
    """Ratings : float64; UserError names those that are not numbers."""
    text = frame[column]
    if frame.attrs["delimiter"] != ",":
        text = text.str.replace(",", ".")
    numbers = pd.to_numeric(text, errors="coerce").astype(float)
    bad = frame.index[~(numbers.abs() < 1e6)]
    refuse(
        [f"row {row + 2}: {frame[column][row]}" for row in bad],
        f"{table} has ratings of {column} that are not numbers",
        "expected numbers, for example in [-10, 10]",
    )
    return numbers


def _check_quotes(frame: pd.DataFrame, table: Path) -> None:
    """Raise UserError where a double quote that was not closed took in other rows."""
    taken = []
    for column in frame:
        for row, cell in frame[column][frame[column].str.contains(r"[\r\n]")].items():
            pieces = pd.Series(re.split(r"[,;\t\r\n]+", cell)).str.strip().str.lower()
            labels = pieces.isin([q.lower() for q in QUADRANTS]) | pieces.str.endswith(SOUND)
            if labels.any() or pd.to_numeric(pieces, errors="coerce").notna().sum() > 1:
                taken.append(f"row {row + 2}, column {column}: {cell[:60]!r}")
    refuse(taken, f"{table} has cells that hold other rows", "close the double quotes")


def _unreadable_names(missing: Sequence[Path]) -> str:
    """Advice where files that are not there may be those whose names are not UTF-8."""
    folders = {path.parent for path in missing if path.parent.is_dir()}
    names = sorted(
        ascii(entry.name)
        for folder in folders
        for entry in folder.iterdir()
        if not is_utf8(entry.name)
    )
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"; file names there that are not UTF-8: {shown}: rename those" if names else ""


def _stem(song: str) -> str:
    """A song's name without the suffix of a sound file (and only that)."""
    return song[: -len(Path(song).suffix)] if Path(song).suffix.lower() in SOUND else song
