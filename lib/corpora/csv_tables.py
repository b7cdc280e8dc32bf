"""Read CSV tables from different programs into pandas DataFrames of strings.

Cells are separated by commas, semicolons or tabs. The encoding is UTF-8, UTF-16 with a byte-order
mark or Windows-1252, with any line ends.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from lib.corpora.recording_names import by_suffix
from lib.errors import UserError

DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
# columns that the suite knows; the delimiter is the one that splits the header into these
KNOWN = {"songs", "quads", "song", "quadrant", "arousal", "valence", "annotator", "group"}
KNOWN |= {"artist", "recording"}


def tables(folder: Path) -> list[Path]:
    """The tables (.csv, .tsv) in a folder."""
    return [path for path in by_suffix(folder, (".csv", ".tsv")) if path.is_file()]


def read_csv(path: Path, strip: bool = True) -> pd.DataFrame:
    """Read a CSV of strings; UserError if the file is not CSV.

    Blank lines are left out, short rows are filled with "", and names of columns (with `strip` also
    cells) are stripped. attrs of the table hold its "delimiter" and "encoding".
    """
    text, encoding = _text(path)
    delimiter = _delimiter(text)
    rows = list(_rows(path, text, delimiter))
    if not rows:
        raise UserError(f"{path} is empty, not a table in CSV")
    names = [name.strip() for name in rows.pop(0)]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise UserError(f"{path} has columns of the same name: {', '.join(twice)}")
    refuse(
        [f"row {i}: {row[0]}" for i, row in enumerate(rows, 2) if any(row[len(names) :])],
        f"{path} has rows with more cells than columns",
        f"put a cell that holds {DELIMITERS[delimiter]} in double quotes",
    )
    cells = [(row + [""] * len(names))[: len(names)] for row in rows]
    frame = pd.DataFrame(cells, columns=names, dtype=object)
    frame = frame.loc[:, [bool(name) for name in names]]
    frame = frame.apply(lambda column: column.str.strip()) if strip else frame
    frame.attrs = {"delimiter": delimiter, "encoding": encoding}
    return frame


def read_named(table: Path, needed: Sequence[str], others: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table, and rename columns that differ from `needed` and `others` only in case.

    UserError if it lacks a column of `needed`.
    """
    frame = read_csv(table)
    # ratings have "quadrant", 4Q-Emotion has "Quadrant": each reader asks for its own spelling
    for name in (*needed, *others):
        same = [column for column in frame if column.lower() == name.lower()]
        if name in same:
            continue
        if len(same) > 1:
            raise UserError(f"{table} has several columns {name}: {', '.join(same)}; keep one")
        frame = frame.rename(columns=dict.fromkeys(same, name))
    require(frame, needed, table)
    return frame


def read_header(path: Path) -> tuple[list[str], str]:
    """Names of the columns of a table, and its text; UserError if the file is empty."""
    text, _ = _text(path)
    names = next(_rows(path, text, _delimiter(text)), None)
    if names is None:
        raise UserError(f"{path} is empty, not a table in CSV")
    return [name.strip() for name in names], text


def has_columns(columns: Iterable[str], names: Sequence[str]) -> bool:
    """Whether there are columns of these names, in upper or lower case."""
    return {name.lower() for name in names} <= {column.lower() for column in columns}


def require(frame: pd.DataFrame, columns: Sequence[str], table: Path) -> None:
    """Raise UserError when a table lacks columns."""
    lacking = [name for name in columns if name not in frame]
    if lacking:
        raise UserError(
            f"{table} lacks the columns {', '.join(lacking)}; it has {', '.join(frame.columns)}"
        )


def refuse(bad: Iterable, what: str, advice: str) -> None:
    """Raise UserError if `bad` has items, and show the first few of them."""
    bad = [str(item) for item in bad]
    if bad:
        shown = ", ".join(bad[:5]) + (", …" if len(bad) > 5 else "")
        raise UserError(f"{what}: {shown}; {advice}")


def _text(path: Path) -> tuple[str, str]:
    """The text of a file and its encoding; UserError if the encoding is not clear."""
    if not path.is_file():
        raise UserError(f"table not found: {path}")
    content = path.read_bytes()
    encodings = {"UTF-8": "utf-8-sig", "Windows-1252": "cp1252"}
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = {"UTF-16": "utf-16"}
    elif not content.decode("utf-8-sig", "ignore").isascii():
        del encodings["Windows-1252"]  # UTF-8 letters among other bytes: a damaged file
    for name, codec in encodings.items():
        try:
            text = content.decode(codec)
        except ValueError:
            continue
        if re.search(r"[\0]" if name == "UTF-8" else r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]", text):
            break
        # Excel's first line, "sep=;", is not needed: the header shows the delimiter
        return re.sub(r"\Asep=[,;\t](?=[\r\n])", "", text, flags=re.IGNORECASE), name
    raise UserError(
        f"{path} is not a table in CSV: its bytes are not text in UTF-8, in UTF-16 with a "
        "byte-order mark or in Windows-1252; save it as CSV (UTF-8)"
    )


def _delimiter(text: str) -> str:
    """The delimiter of the cells: the one that splits the header into the most known names."""
    lines = (line for line in re.split(r"[\r\n]+", text) if line.strip(" ,;\t"))
    header = next(lines, "").lower()

    def rank(delimiter: str) -> tuple[int, bool, int]:
        known = sum(name.strip(' "') in KNOWN for name in header.split(delimiter))
        return known, delimiter == "," in header, header.count(delimiter)

    return max(DELIMITERS, key=rank)


def _rows(path: Path, text: str, delimiter: str) -> Iterator[list[str]]:
    """The rows of a table that are not blank; UserError names the line of a row with bad quotes."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    first = 1
    try:
        for row in reader:
            first = reader.line_num + 1
            if any(cell.strip() for cell in row):
                yield row
    except csv.Error as error:
        fault = {
            "unexpected end of data": "a double quote is opened and not closed",
            f"'{delimiter}' expected after '\"'": "there is text after a closing double quote",
        }.get(str(error), str(error))
        raise UserError(
            f"{path} is not a table in CSV: the row of line {first}: {fault}; put a cell with "
            "quotes in double quotes and write the quotes inside it twice"
        ) from error
