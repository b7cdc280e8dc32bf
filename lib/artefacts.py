"""Names and places of data sets and runs, atomic writes, run.json, loading models.

    <path_to_data>/features/{speech,music}/{english,mandarin,mix}/{train,val,test}_dataset.h5
    <path_to_models>/models/speech/{english,mandarin,mix}/<model>.it_<n>/
    <path_to_models>/models_trans/speech_{eng,man,mix,none}_2_music_{eng,man}/
        <model>[.feat_ext|.full].it_<n>/        (speech_none: the baseline from scratch)

run.json is written last: a run directory without it is unfinished.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from lib.errors import UserError
from lib.registry import LANGUAGES, SHORT

PACKAGES = ("tensorflow", "keras", "librosa", "numpy", "scikit-learn", "pandas", "h5py")
MODES = ("feat_ext", "full", "scratch")


def speech_run(models: str | Path, language: str, model: str, iteration: int) -> Path:
    """Run directory of a pretraining."""
    return Path(models) / "models" / "speech" / LANGUAGES[language] / f"{model}.it_{iteration}"


def transfer_run(
    models: str | Path, speech: str | None, music: str, model: str, mode: str, iteration: int
) -> Path:
    """Run directory of a transfer; `speech` None and mode "scratch" for the baseline."""
    pair = f"speech_{SHORT[speech] if speech else 'none'}_2_music_{SHORT[music]}"
    step = "" if mode == "scratch" else f".{mode}"
    return Path(models) / "models_trans" / pair / f"{model}{step}.it_{iteration}"


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` with its suffix; renamed to `path` if the block succeeds."""
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping) -> None:
    """Write JSON whole or not at all; keys in the order given."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict | None:
    """The content of a JSON file, or None if it is missing or not whole."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder`, put in its place if the block succeeds; else nothing changes.

    What stood there before goes only when the new one is whole. Raises UserError when a file stands
    in the way.
    """
    _clear_abandoned(folder)
    new, old = (folder.with_name(f".{kind}-{os.getpid()}-{folder.name}") for kind in ("new", "old"))
    try:
        new.mkdir(parents=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{folder} cannot be made: a file stands in its way") from error
    try:
        yield new
        if folder.exists():
            os.replace(folder, old)
        os.replace(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)


def _clear_abandoned(folder: Path) -> None:
    """Remove what killed processes left of `whole_folder(folder)`."""
    for path in folder.parent.glob(f".new-*-{folder.name}"):
        pid = path.name.split("-")[1]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(path, ignore_errors=True)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def packages() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def finished(run: Path, inputs: Mapping, overwrite: bool, keep_same: bool = False) -> bool:
    """Whether a run stands there, finished, with the same inputs, and is to be left alone.

    Parameters
    ----------
    inputs : all that decides the result: settings, seed, hashes of data set and parent encoder
    overwrite : train again (the finished run is replaced when the new one is done)
    keep_same : even then leave a run of the same inputs alone

    Raises UserError when a finished run with other inputs stands there and `overwrite` is False.
    """
    record = read_json(run / "run.json")
    if record is None:
        return False
    differ = differences(record.get("inputs", {}), json.loads(json.dumps(inputs)))
    if differ and not overwrite:
        raise UserError(
            f"{run} is finished, with other inputs than asked for ({'; '.join(differ)}): "
            f"use the same, or replace it with --overwrite"
        )
    return not differ and (keep_same or not overwrite)


def differences(found: Mapping, wanted: Mapping, prefix: str = "") -> list[str]:
    """Human-readable differences between two nested dicts."""
    lines = []
    for key in sorted({*found, *wanted}):
        a, b = found.get(key), wanted.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            lines += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            lines.append(f"{prefix}{key}: {_short(a)} there, {_short(b)} asked")
    return lines


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 24 else text[:10] + "…"


def load_encoder(run: Path, make: str):
    """Load `encoder.keras` of a finished pretraining run; UserError names the command to run."""
    import keras

    path = run / "encoder.keras"
    if not (run / "run.json").is_file() or not path.is_file():
        state = "is not finished" if run.is_dir() else "does not exist"
        raise UserError(f"the pretraining run {run} {state}: run first\n  {make}")
    try:
        return keras.models.load_model(path, compile=False)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} cannot be loaded ({str(error)[:120]}): run again\n  {make} --overwrite"
        ) from error


def decisive(training: Mapping) -> dict:
    """The settings of `training` that change a result; the others only change its cost."""
    cost = ("predict_windows", "checkpoint_seconds", "xla")
    return {key: value for key, value in training.items() if key not in cost}


def write_run(
    folder: Path, inputs: Mapping, outcome: Mapping, history: list[dict], began: float
) -> None:
    """Write history.csv and, last of all, run.json, which makes a run finished.

    began : time.time() at the start
    """
    pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
    now = time.time()
    record = {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "finished": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now)),
        "seconds": round(now - began, 1),
        "outcome": dict(outcome),
        "inputs": dict(inputs),
        "packages": packages(),
    }
    write_json(folder / "run.json", record)
