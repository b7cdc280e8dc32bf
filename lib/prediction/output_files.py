"""The prediction stage: which files, what is written for each, what stands there already.

Per file <name>.json, .csv and .png (lib.prediction.predictor says what is in them), for folders
summary.csv.
A file that cannot be used is told at the end; the others are done.
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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from lib.artefacts import files as artefacts_files
from lib.console import native_messages_aside, say
from lib.errors import NO_ROOM, UserError, one_line, printable
from lib.evaluation.predictions_table import columns_of
from lib.features.audio_decoding import UnusableRecording
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
    """A file to predict: where it is, what it is called, what its outputs are called.

    `name` is UTF-8: bytes of a file's name that are not are spelt out (caf\\udce9.mp3).
    """

    path: Path
    name: str
    stem: str


def inputs(
    given: Sequence[str], stream: BinaryIO | None, folder: Path, told: Callable[[str], None] = say
) -> tuple[list[Input], list[str]]:
    """The sound files among files, folders and "-", and what is wrong with the others.

    stream : what "-" stands for, kept as a file in `folder`; told : says which files of a folder
    are passed over. Outputs are called after their file, with its suffix where that tells two
    apart.
    """
    found, failed = [], []
    for text in dict.fromkeys(given):
        path = Path(text)
        if not text or (text == "-" and stream is None):
            failed.append("-: there is no standard input" if text else "an empty name: name a file")
        elif text == "-":
            path = folder / "stdin"
            with open(path, "wb") as file:
                shutil.copyfileobj(stream, file)
            found.append((path, Path("stdin"), "-"))
        elif path.is_dir():
            inside, others, unread = _sound_files(path)
            found += [(p, p.relative_to(path), str(p)) for p in inside]
            failed += unread
            if not inside:
                failed.append(f"{path}: no sound files in this folder ({' '.join(SOUND)})")
            elif others:
                kinds = ", ".join(sorted({p.suffix.lower() or "no suffix" for p in others}))
                told(f"passed over in {path}: {len(others)} files that are no sound ({kinds})")
        else:
            found.append((path, Path(path.name), text))
    stems = pd.Series([str(name.with_suffix("")) for _, name, _ in found], dtype=object)
    own = ~stems.duplicated(keep=False) & (stems != Path(SUMMARY).stem)
    names = [s if o else str(n) for s, o, (_, n, _) in zip(stems, own, found, strict=True)]
    result = []
    for (path, _, text), name in zip(found, names, strict=True):
        if names.count(name) > 1 and name in [one.stem for one in result]:
            failed.append(f"{text}: another input has the outputs {name}.*: predict it on its own")
        else:
            result.append(Input(path, _spelt(text), _short(name)))
    return result, failed


def _spelt(name: str) -> str:
    """A name as UTF-8 can hold it."""
    return name.encode("utf-8", "backslashreplace").decode()


def _short(stem: str) -> str:
    """The name of outputs, cut to what file systems take; a hash keeps two such names apart."""
    path = Path(stem)
    name = os.fsencode(path.name)
    if len(name) <= LONGEST:
        return stem
    mark = hashlib.sha256(name).hexdigest()[:8]
    whole = name[: LONGEST - 9].decode("utf-8", "ignore")
    return str(path.with_name(f"{whole}-{mark}"))


def _sound_files(folder: Path) -> tuple[list[Path], list[Path], list[str]]:
    """The sound files below a folder, by their suffix, its other files, and what could not be
    looked into.

    Links to folders are followed, each folder once; what is hidden is left out.
    """
    files, unread, seen = [], [], set()
    for where, folders, names in os.walk(
        folder,
        onerror=lambda error: unread.append(f"{one_line(error.filename)}: {error.strerror}"),
        followlinks=True,
    ):
        seen.add(os.path.realpath(where))
        folders[:] = [
            name
            for name in sorted(folders)
            if name[0] != "." and os.path.realpath(Path(where, name)) not in seen
        ]
        files += [Path(where, name) for name in names if name[0] != "."]
    sound = [path for path in files if path.suffix.lower() in SOUND]
    return sorted(sound), sorted(set(files) - set(sound)), unread


def predict_all(
    given: Sequence[str],
    predictor: Predictor,
    out: Path | None,
    stream: BinaryIO | None,
    *,
    overwrite: bool = False,
    as_json: bool = False,
) -> list[str]:
    """Predict files and folders; returns what could not be done, a line each.

    Parameters
    ----------
    given : paths of files and folders; "-" for `stream`
    out : folder for <name>.csv, .json, .png of each, and summary.csv where a folder was given;
        None writes none
    overwrite : replace files that stand in `out`
    as_json : print a line of JSON per file, with its windows, instead of messages
    """
    with tempfile.TemporaryDirectory() as folder:
        told = (lambda text: print(printable(text), file=sys.stderr)) if as_json else say
        found, failed = inputs(given, stream, Path(folder), told)
        table_wanted = out is not None and any(Path(text).is_dir() for text in given)
        if out is not None:
            artefacts_files.make_folder(out)
        if table_wanted and not overwrite:
            _check_summary(out / SUMMARY)
        for one in found:
            name = one_line(one.name)
            try:
                said = _predict_one(one, predictor, out, overwrite, as_json)
            except (UnusableRecording, UserError) as error:
                failed.append(f"{name}: {error}{_advice(one.path, error)}")
            except OSError as error:
                if error.errno in NO_ROOM:
                    raise
                failed.append(f"{name}: {error.filename}: {error.strerror}")
            else:
                say(said)
        if table_wanted and len(found):
            rows = _write_summary(out)
            if rows and not as_json:
                say(f"{rows} files: {out / SUMMARY}")
    return failed


def _write_summary(out: Path) -> int:
    """Write summary.csv from the predictions that stand in a folder; returns how many.

    Two calls may end at once: each looks for what stands there while the other waits. Of a file
    that was predicted under two names the later counts.
    """
    folder = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        paths = sorted(out.rglob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path))
        records = filter(None, map(_read_record, paths))
        table = pd.DataFrame([_row(record) for record in records], columns=COLUMNS)
        table = table.drop_duplicates("file", keep="last")
        if len(table):
            artefacts_files.write_text(out / SUMMARY, table.to_csv(index=False))
    finally:
        os.close(folder)
    return len(table)


def _quietly(predictor: Predictor, path: Path) -> Prediction:
    """The prediction, without what decoders say of a damaged file; the exception says it better."""
    with native_messages_aside():
        try:
            return predictor.predict(path)
        except UnusableRecording as error:
            unusable = error
    raise unusable


def _predict_one(
    one: Input, predictor: Predictor, out: Path | None, overwrite: bool, as_json: bool
) -> str:
    """Predict a file and write its outputs, unless they stand there; returns what to print."""
    began, name = time.perf_counter(), one_line(one.name)
    about = {"file": one.name}
    if out is not None:
        target = out / one.stem
        about["sha256"] = artefacts_files.file_hash(one.path) if one.path.is_file() else None
        about["model"] = predictor.identity
        there = [path for s in PER_FILE if (path := target.with_name(target.name + s)).exists()]
        if there and not overwrite:
            record = _record(target, about)
            if record is None:
                raise UserError(
                    f"{there[0]} stands there already, and is not of this file, model and --hop: "
                    "--overwrite replaces it, another --out keeps it"
                )
            if len(there) == len(PER_FILE) and not as_json:
                return f"{name}: finished already, {_told(record)}"
    prediction = _quietly(predictor, one.path)
    summary = about | prediction.summary
    if out is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        for suffix in PER_FILE:  # if this is interrupted, none of an older model is left
            target.with_name(target.name + suffix).unlink(missing_ok=True)
        writers = (
            lambda path: artefacts_files.write_json(path, summary),
            lambda path: _write_csv(prediction.table, path),
            lambda path: _draw(prediction, path, one.name),
        )
        for suffix, write in zip(PER_FILE, writers, strict=True):
            write(target.with_name(target.name + suffix))
    if as_json:
        windows = prediction.table.to_json(orient="records", double_precision=6)
        return json.dumps(summary | {"table": json.loads(windows)}, ensure_ascii=False)
    took, length = time.perf_counter() - began, summary["seconds"]
    speed = f"{length:.1f} s in {took:.1f} s, {length / took:.0f} times real time"
    return f"{name}: {_told(summary)} ({speed})"


def _told(summary: Mapping) -> str:
    share, seconds = summary["p_quadrants"][summary["quadrant"]], summary["seconds"]
    promised = summary.get("promised_seconds", seconds)  # earlier versions did not tell
    return (
        f"{summary['quadrant']} ({share:.2f}), arousal {summary['arousal']:+.2f}, "
        f"valence {summary['valence']:+.2f}"
        + (f", from {seconds:.1f} s of the {promised:.1f} s promised" if promised > seconds else "")
    )


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    artefacts_files.write_text(path, table.to_csv(index=False, float_format="%.6g"))


def _draw(prediction: Prediction, path: Path, name: str) -> None:
    quadrants = prediction.table[columns_of("quadrants")].to_numpy()
    title = f"{Path(name).name}: {_told(prediction.summary)}"
    taggram.taggram(
        *(prediction.envelope, prediction.table["start_seconds"].to_numpy(), quadrants),
        {axis: prediction.table[axis].to_numpy() for axis in ("arousal", "valence")},
        prediction.summary["seconds"],
        path,
        title,
    )


def _record(target: Path, about: Mapping) -> dict | None:
    """The summary of an earlier prediction of the same file by the same model, or None."""
    record = _read_record(target.with_name(target.name + ".json"))
    if record is None or record["sha256"] != about["sha256"]:
        return None
    same = all(record["model"].get(key) == about["model"][key] for key in ("sha256", "hop_seconds"))
    return record if same else None


def _read_record(path: Path) -> dict | None:
    """The summary in <name>.json of an earlier prediction, None of any other file."""
    try:
        record = artefacts_files.read_json(path)
        _told(record)
        own = _row(record).keys() == set(COLUMNS) and isinstance(record["model"], dict)
        return record if own and "sha256" in record else None
    except (UserError, LookupError, TypeError, ValueError):
        return None


def _row(summary: Mapping) -> dict:
    shares = {f"p_{name}": value for name, value in summary["p_quadrants"].items()}
    return {name: value for name, value in (summary | shares).items() if name in COLUMNS}


def _check_summary(path: Path) -> None:
    """Raise UserError when a summary.csv stands there that is not of this suite."""
    if not path.exists():
        return
    try:
        own = list(pd.read_csv(path, nrows=0)) == COLUMNS
    except (OSError, ValueError):
        own = False
    if not own:
        raise UserError(f"{path} is not of this suite: choose another -o, or --overwrite it")


def _advice(path: Path, error: Exception) -> str:
    if "cannot be decoded" in str(error) and path.suffix.lower() not in SOUND:
        wav = path.with_suffix(".wav").name
        return f"; of a video or another format, take the sound first: ffmpeg -i {path.name} {wav}"
    return ""
