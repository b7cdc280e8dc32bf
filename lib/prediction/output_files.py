"""Write predictions: <name>.json, .csv and .png per file, summary.csv per folder."""

from __future__ import annotations

import csv
import fcntl
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from lib.artefacts import files
from lib.errors import UserError
from lib.labels import QUADRANTS
from lib.prediction.input_files import SUMMARY, Input
from lib.prediction.predictor import Prediction

PER_FILE = (".json", ".csv", ".png")  # in the order of writing; the first one names file and model
COLUMNS = ["file", "seconds", "windows", "quadrant", *(f"p_{q}" for q in QUADRANTS)]
COLUMNS += ["arousal", "valence"]
Draw = Callable[[Prediction, Path, str], None]  # prediction, path, title -> <name>.png


def finished(source: Input, out: Path, expected: Mapping, figures: bool) -> dict | None:
    """Return the summary of an earlier prediction of the same file by the same model, None if one
    of its files is missing. Raises UserError if files of another prediction exist."""
    there = [suffix for suffix in PER_FILE if source.output(out, suffix).exists()]
    if not there:
        return None
    record = _read_record(source.output(out, PER_FILE[0]))
    if record is None or _origin(record) != _origin(expected):
        raise UserError(
            f"{source.output(out, there[0])} exists already, from another file, model or --hop: "
            "replace it with --overwrite, or choose another --out"
        )
    wanted = PER_FILE if figures else PER_FILE[:-1]
    return record if set(wanted) <= set(there) else None


def _origin(record: Mapping) -> tuple:
    model = record["model"]
    return record["sha256"], model.get("sha256"), model.get("hop_seconds")


def write(
    source: Input, prediction: Prediction, summary: Mapping, out: Path, draw: Draw | None
) -> None:
    """Write the files of a prediction into `out`; `draw` is a Draw, or None for no figure."""
    record, table, figure = paths = [source.output(out, suffix) for suffix in PER_FILE]
    record.parent.mkdir(parents=True, exist_ok=True)
    for path in paths:  # so that an interruption leaves no file of an older model
        path.unlink(missing_ok=True)
    files.write_json(record, summary)
    columns = prediction.columns
    texts = [[_text(value) for value in values] for values in columns.values()]
    files.write_text(table, _as_csv([list(columns), *zip(*texts, strict=True)]))
    if draw:
        draw(prediction, figure, f"{Path(source.name).name}: {in_words(summary)}")


def _text(value: object) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def _as_csv(rows: Iterable[Sequence]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def draw_taggram(prediction: Prediction, path: Path, title: str) -> None:
    """Draw <name>.png."""
    from lib.figures import taggram  # matplotlib takes half a second to import

    taggram.taggram(
        envelope=prediction.envelope,
        table=prediction.columns,
        seconds=prediction.summary["seconds"],
        path=path,
        title=title,
    )


def in_words(summary: Mapping) -> str:
    """Return a summary as text for printing."""
    share, seconds = summary["p_quadrants"][summary["quadrant"]], summary["seconds"]
    promised = summary.get("promised_seconds", seconds)  # earlier versions did not write it
    cut = f", cut short: {seconds:.1f} s of {promised:.1f} s" if promised > seconds else ""
    return (
        f"{summary['quadrant']} ({share:.2f}), arousal {summary['arousal']:+.2f}, "
        f"valence {summary['valence']:+.2f}{cut}"
    )


def write_summary(out: Path) -> int:
    """Write summary.csv from the predictions in a folder; returns their number.

    A lock keeps two calls that end together from reading the folder at the same time. If one file
    has two predictions, under two names of outputs, the later one counts.
    """
    folder = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        paths = sorted(out.rglob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path))
        records = filter(None, map(_read_record, paths))
        rows = {record["file"]: _row(record) for record in records}
        if rows:
            table = [COLUMNS, *(rows[name] for name in sorted(rows))]
            files.write_text(out / SUMMARY, _as_csv(table))
    finally:
        os.close(folder)
    return len(rows)


def _read_record(path: Path) -> dict | None:
    """Return the summary in <name>.json of an earlier prediction, None for any other file."""
    try:
        record = files.read_json(path)
        in_words(record)
        _row(record)
        return record if isinstance(record["model"], dict) and "sha256" in record else None
    except (UserError, LookupError, TypeError, ValueError):
        return None


def _row(summary: Mapping) -> list:
    values = summary | {f"p_{name}": share for name, share in summary["p_quadrants"].items()}
    return [values[name] for name in COLUMNS]


def check_summary(path: Path) -> None:
    """Raise UserError when `path` exists and is not a summary.csv of this suite."""
    if not path.exists():
        return
    try:
        with open(path, newline="", encoding="utf-8") as file:
            ours = next(csv.reader(file), None) == COLUMNS
    except (OSError, ValueError, csv.Error):
        ours = False
    if not ours:
        raise UserError(f"{path} is not from this suite: use another -o, or --overwrite it")
