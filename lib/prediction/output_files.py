"""The prediction stage: which files, what is written for each, what stands there already.

A file gets <name>.json, .csv and .png (lib.prediction.predictor says what is in them), a folder
also summary.csv. Files that cannot be used are reported at the end; the others are done.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from lib.artefacts import files as artefacts_files
from lib.console import native_messages_aside, say
from lib.errors import NO_ROOM, UserError, one_line, printable
from lib.figures import taggram
from lib.labels import QUADRANTS, SOUND
from lib.prediction.predictor import Prediction, Predictor

LONGEST = 255 - len(".json")  # bytes of the name of an output without its suffix
SUMMARY = "summary.csv"
PER_FILE = (".json", ".csv", ".png")  # in the order of writing: the first says whose they are
COLUMNS = ["file", "seconds", "windows", "quadrant", *(f"p_{q}" for q in QUADRANTS)]
COLUMNS += ["arousal", "valence"]


@dataclass(frozen=True)
class Input:
    """A file to predict, its name as UTF-8 (other bytes escaped), and the name of its outputs."""

    path: Path
    name: str
    stem: str

    def output(self, folder: Path, suffix: str) -> Path:
        return folder / f"{self.stem}{suffix}"


def inputs(
    given: Sequence[str], stream: BinaryIO | None, folder: Path, report: Callable = say
) -> tuple[list[Input], list[str]]:
    """The sound files among files, folders and "-", and what is wrong with the others.

    stream : what "-" stands for, kept as a file in `folder`
    report : prints which files of a folder are passed over

    Outputs are named after their file, with its suffix where that tells two apart.
    """
    sources, failed = [], []
    for text in dict.fromkeys(given):
        path = Path(text)
        if not text:
            failed.append("an empty name: name a file")
        elif text == "-" and stream is None:
            failed.append("-: there is no standard input")
        elif text == "-":
            path = folder / "stdin"
            with open(path, "wb") as file:
                shutil.copyfileobj(stream, file)
            sources.append((path, Path("stdin"), text))
        elif path.is_dir():
            inside, unread = _sound_files(path, report)
            sources += [(file, file.relative_to(path), str(file)) for file in inside]
            failed += unread
        else:
            sources.append((path, Path(path.name), text))
    counts = Counter(name.with_suffix("") for _, name, _ in sources)
    counts[Path(SUMMARY).with_suffix("")] += 1
    result = {}
    for path, name, text in sources:
        stem = name.with_suffix("")
        stem = _short(str(stem if counts[stem] == 1 else name))
        if stem in result:
            failed.append(f"{text}: another input has the outputs {stem}.*: predict it on its own")
        else:
            result[stem] = Input(path, text.encode("utf-8", "backslashreplace").decode(), stem)
    return list(result.values()), failed


def _short(stem: str) -> str:
    """The name of outputs, cut to what file systems take; a hash keeps two such names apart."""
    path = Path(stem)
    name = os.fsencode(path.name)
    if len(name) <= LONGEST:
        return stem
    kept = name[: LONGEST - 9].decode("utf-8", "ignore")
    return str(path.with_name(f"{kept}-{hashlib.sha256(name).hexdigest()[:8]}"))


def _sound_files(folder: Path, report: Callable) -> tuple[list[Path], list[str]]:
    """The sound files below a folder, by their suffix, and messages on what cannot be read.

    Links to folders are followed, each folder once; what is hidden is left out.
    """
    files, errors, seen = [], [], set()
    for where, folders, names in os.walk(folder, onerror=errors.append, followlinks=True):
        seen.add(os.path.realpath(where))
        folders[:] = [
            name
            for name in sorted(folders)
            if name[0] != "." and os.path.realpath(Path(where, name)) not in seen
        ]
        files += [Path(where, name) for name in names if name[0] != "."]
    failed = [f"{one_line(error.filename)}: {error.strerror}" for error in errors]
    sound = sorted(path for path in files if path.suffix.lower() in SOUND)
    if not sound:
        failed.append(f"{folder}: no sound files in this folder ({' '.join(SOUND)})")
    elif others := len(files) - len(sound):
        suffixes = {path.suffix.lower() or "no suffix" for path in files} - {*SOUND}
        kinds = ", ".join(sorted(suffixes))
        report(f"passed over in {folder}: {others} files that are no sound ({kinds})")
    return sound, failed


def predict_all(
    given: Sequence[str],
    predictor: Predictor,
    out: Path | None,
    stream: BinaryIO | None,
    *,
    overwrite: bool = False,
    as_json: bool = False,
) -> list[str]:
    """Predict files and folders; returns a message on each that could not be predicted.

    given : paths of files and folders; "-" for `stream`
    out : folder for <name>.csv, .json, .png of each, and summary.csv where a folder was given;
        None writes none
    overwrite : replace files that stand in `out`
    as_json : print a line of JSON per file, with its windows, instead of messages
    """
    with tempfile.TemporaryDirectory() as folder:
        report = (lambda text: print(printable(text), file=sys.stderr)) if as_json else say
        sources, failed = inputs(given, stream, Path(folder), report=report)
        table_wanted = out is not None and any(Path(text).is_dir() for text in given)
        if out is not None:
            artefacts_files.make_folder(out)
        if table_wanted and not overwrite:
            _check_summary(out / SUMMARY)
        for source in sources:
            name = one_line(source.name)
            try:
                message = _predict_one(source, predictor, out, overwrite=overwrite, as_json=as_json)
            except UserError as error:
                failed.append(f"{name}: {error}{_advice(source.path, error)}")
            except OSError as error:
                if error.errno in NO_ROOM:
                    raise
                failed.append(f"{name}: {error.filename}: {error.strerror}")
            else:
                say(message)
        if table_wanted and sources and (rows := _write_summary(out)) and not as_json:
            say(f"{rows} files: {out / SUMMARY}")
    return failed


def _predict_one(
    source: Input, predictor: Predictor, out: Path | None, overwrite: bool, as_json: bool
) -> str:
    """Predict a file and write its outputs, unless they stand there; returns what to print."""
    began, name = time.perf_counter(), one_line(source.name)
    summary = {"file": source.name}
    if out is not None:
        path = source.path
        summary["sha256"] = artefacts_files.file_hash(path) if path.is_file() else None
        summary["model"] = predictor.identity
        record = None if overwrite else _finished(source, out, summary)
        if record and not as_json:
            return f"{name}: finished already, {_in_words(record)}"
    with native_messages_aside():  # the exception is clearer than what decoders print
        prediction = predictor.predict(source.path)
    summary |= prediction.summary
    if out is not None:
        _write(source, prediction, summary, out=out)
    if as_json:
        windows = prediction.table.to_json(orient="records", double_precision=6)
        return json.dumps(summary | {"table": json.loads(windows)}, ensure_ascii=False)
    took, length = time.perf_counter() - began, summary["seconds"]
    speed = f"{length:.1f} s in {took:.1f} s, {length / took:.0f} times real time"
    return f"{name}: {_in_words(summary)} ({speed})"


def _finished(source: Input, out: Path, expected: Mapping) -> dict | None:
    """The summary of an earlier prediction of the same file by the same model, None where one of
    its files is missing. Raises UserError where files of another prediction stand."""
    paths = [path for s in PER_FILE if (path := source.output(out, s)).exists()]
    if not paths:
        return None
    record = _read_record(source.output(out, PER_FILE[0]))
    if record is None or _origin(record) != _origin(expected):
        raise UserError(
            f"{paths[0]} stands there already, and is not of this file, model and --hop: "
            "--overwrite replaces it, another --out keeps it"
        )
    return record if len(paths) == len(PER_FILE) else None


def _origin(record: Mapping) -> tuple:
    model = record["model"]
    return record["sha256"], model.get("sha256"), model.get("hop_seconds")


def _write(source: Input, prediction: Prediction, summary: Mapping, out: Path) -> None:
    record, csv, figure = paths = [source.output(out, suffix) for suffix in PER_FILE]
    record.parent.mkdir(parents=True, exist_ok=True)
    for path in paths:  # if this is interrupted, none of an older model is left
        path.unlink(missing_ok=True)
    artefacts_files.write_json(record, summary)
    table = prediction.table
    artefacts_files.write_text(csv, table.to_csv(index=False, float_format="%.6g"))
    taggram.taggram(
        envelope=prediction.envelope,
        table=table,
        seconds=summary["seconds"],
        path=figure,
        title=f"{Path(source.name).name}: {_in_words(summary)}",
    )


def _in_words(summary: Mapping) -> str:
    share, seconds = summary["p_quadrants"][summary["quadrant"]], summary["seconds"]
    promised = summary.get("promised_seconds", seconds)  # earlier versions did not write it
    cut = f", from {seconds:.1f} s of the {promised:.1f} s promised" if promised > seconds else ""
    return (
        f"{summary['quadrant']} ({share:.2f}), arousal {summary['arousal']:+.2f}, "
        f"valence {summary['valence']:+.2f}{cut}"
    )


def _write_summary(out: Path) -> int:
    """Write summary.csv from the predictions that stand in a folder; returns their number.

    Two calls may end at once: each looks for what stands there while the other waits. Of a file
    that was predicted under two names the later counts.
    """
    folder = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        paths = sorted(out.rglob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path))
        records = filter(None, map(_read_record, paths))
        table = pd.DataFrame(map(_row, records), columns=COLUMNS)
        table = table.drop_duplicates("file", keep="last")
        if len(table):
            artefacts_files.write_text(out / SUMMARY, table.to_csv(index=False))
    finally:
        os.close(folder)
    return len(table)


def _read_record(path: Path) -> dict | None:
    """The summary in <name>.json of an earlier prediction, None of any other file."""
    try:
        record = artefacts_files.read_json(path)
        _in_words(record)
        _row(record)
        return record if isinstance(record["model"], dict) and "sha256" in record else None
    except (UserError, LookupError, TypeError, ValueError):
        return None


def _row(summary: Mapping) -> list:
    values = summary | {f"p_{name}": share for name, share in summary["p_quadrants"].items()}
    return [values[name] for name in COLUMNS]


def _check_summary(path: Path) -> None:
    """Raise UserError when a summary.csv stands there that is not of this suite."""
    try:
        ours = not path.exists() or list(pd.read_csv(path, nrows=0)) == COLUMNS
    except (OSError, ValueError):
        ours = False
    if not ours:
        raise UserError(f"{path} is not of this suite: choose another -o, or --overwrite it")


def _advice(path: Path, error: Exception) -> str:
    if "cannot be decoded" not in str(error) or path.suffix.lower() in SOUND:
        return ""
    wav = path.with_suffix(".wav").name
    return f"; of a video or another format, take the sound first: ffmpeg -i {path.name} {wav}"
