"""Names and places of data sets and runs, atomic writes, run.json.

    <path_to_data>/features/{speech,music}/{english,mandarin,mix}/{train,val,test}_dataset.h5
    <path_to_models>/models/speech/{english,mandarin,mix}/<model>.it_<n>/
    <path_to_models>/models/music/{english,mandarin}/<model>[.[artist_]folds_<k>].it_<n>/[fold_<i>/]
    <path_to_models>/models_trans/speech_{eng,man,mix,own,none}_2_music_{eng,man}/
        <model>[.feat_ext|.full][.<tag>].it_<n>/
        <model>[.feat_ext|.full][.<tag>].[artist_]folds_<k>.it_<n>/fold_<i>/     (cross-validation)

speech_own: pretrained on the music itself, without its labels; speech_none: from random weights.

run.json is written last: a run directory without it is unfinished.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lib.config import BEFORE, ROOT, TAG
from lib.errors import UserError
from lib.registry import LANGUAGES, SHORT

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = (
    "tensorflow",
    "jax",
    "torch",
    "keras",
    "librosa",
    "numpy",
    "scikit-learn",
    "pandas",
    "h5py",
)
RUN = re.compile(  # <pair>/<name> of a transfer: speech, music, model, mode, tag, folds, iteration
    r"speech_(eng|man|mix|own|none)_2_music_(eng|man)/(\w+)(?:\.(feat_ext|full|probe))?"
    rf"(?:\.({TAG}))?(?:\.((?:artist_)?folds_[1-9]\d*))?\.it_(0|[1-9]\d*)"
)
CHECKPOINT = "checkpoint"  # folder in a run directory from which an unfinished run resumes
# of a run, what a later stage reads: run.json has the hash of each
READ_LATER = ("model.keras", "encoder.keras", "history.csv", "predictions.csv", "metrics.json")
CODES = "codes"  # folder beside a data set: what frozen encoders made of it (lib.codes)


def pretraining_run(
    models: str | Path,
    language: str,
    model: str,
    iteration: int,
    kind: str = "speech",
    folds: str = "",
) -> Path:
    """Run directory of a pretraining; `kind` is "speech" or "music", `folds` as of transfer_run."""
    name = ".".join(part for part in (model, folds, f"it_{iteration}") if part)
    return Path(models) / "models" / kind / LANGUAGES[language] / name


def transfer_run(
    models: str | Path,
    speech: str | None,
    music: str,
    model: str,
    mode: str,
    iteration: int,
    folds: str = "",
    tag: str = "",
) -> Path:
    """Run directory of a transfer; mode "scratch" where all is trained from random weights.

    folds : of a cross-validation, as of lib.crossval.Folds.name; tag : setting run.tag
    """
    pair = f"speech_{SHORT[speech or 'n']}_2_music_{SHORT[music]}"
    parts = [model, "" if mode == "scratch" else mode, tag, folds, f"it_{iteration}"]
    return Path(models) / "models_trans" / pair / ".".join(part for part in parts if part)


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` with its suffix; renamed to `path` if the block succeeds."""
    # a name of its own: with the other's in it, one of 255 bytes would be too long
    partial = path.with_name(f".partial-{os.getpid()}-{secrets.token_hex(4)}{path.suffix[-16:]}")
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


def read_json(path: Path, advice: str = "") -> dict | None:
    """The content of a JSON file, or None if there is none.

    advice : what to do about a damaged one, where the folder that it stands in is not to go

    Raises UserError when the file is there and is not whole: what stands beside it may be a
    finished run, which must not be taken for an unfinished one.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        advice = advice or f"move {path.parent} away, or remove it to start anew"
        raise UserError(f"{path} is damaged: {advice}")
    return content


def changed_files(folder: Path, record: Mapping, names: Iterable[str]) -> list[str]:
    """Which files of a run or a data set are not those that were written.

    record : run.json or dataset.json, whose "files" has the SHA-256 of each; a file without one, as
    of an older version of the suite, is not checked
    """
    hashes = record.get("files")
    hashes = hashes if isinstance(hashes, dict) else {}
    return [
        name
        for name in names
        if name in hashes
        and not ((folder / name).is_file() and file_hash(folder / name) == hashes[name])
    ]


def check_files(folder: Path, record: Mapping, names: Iterable[str]) -> None:
    """Raise UserError when files are not those that were written; all as of `changed_files`."""
    changed = changed_files(folder, record, names)
    if changed:
        told = f"{' and '.join(str(folder / name) for name in changed)}: cut, changed or gone"
        raise UserError(
            f"{told} since it was written, as its SHA-256 tells: put it back, or make it again "
            "with its own line and --overwrite"
        )


@contextlib.contextmanager
def whole_folder(folder: Path, own: Collection[str] = ()) -> Iterator[Path]:
    """A new folder beside `folder`, put in its place if the block succeeds; else nothing changes.

    What stood there before goes only when the new one is in its place; files that are not of this
    suite (your notes) are moved over. A process that is killed leaves hidden folders that the next
    call puts right.

    own : names of files that go with the old folder even where the new one has none

    Raises UserError when a file stands in the way, or the folder is a mount point.
    """
    folder = folder.resolve()  # a link to another disk stays one
    check_place(folder)
    check_replaceable(folder)
    _recover(folder)
    new, old = (folder.with_name(f".{kind}-{os.getpid()}-{folder.name}") for kind in ("new", "old"))
    new.mkdir()
    try:
        yield new
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(new, folder)
        except OSError:
            if old.exists():
                os.replace(old, folder)
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
    for name in own:
        (old / name).unlink(missing_ok=True)
    _move_over(old, folder)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder that is about to be written; UserError when another process holds it.

    The lock is a hidden file beside the folder. It goes with its holder, even a killed one.
    """
    folder = folder.resolve()
    check_place(folder)
    path = folder.with_name(f".lock-{folder.name}")
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.path.exists(path) and os.path.samestat(os.fstat(file.fileno()), path.stat())
        except BlockingIOError:
            mine = False
        if not mine:
            raise UserError(f"another process is working on {folder}: wait for it, or stop it")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def check_place(folder: Path) -> None:
    """Make the parents of a folder to be written; UserError when a file stands in the way.

    Asked before hours of work, not after them.
    """
    if folder.is_file():
        raise UserError(f"{folder} is a file where a folder is to be written: move it away")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{folder} cannot be made: a file stands in its way") from error
    if not os.access(folder.parent, os.W_OK):
        raise UserError(f"{folder.parent} cannot be written: choose another place, or allow it")


def check_replaceable(folder: Path) -> None:
    """Raise UserError when a folder cannot be put in another's place: where a disk is mounted.

    Asked before hours of work, not after them.
    """
    if os.path.ismount(folder) or str(folder) in _mounts():
        raise UserError(
            f"{folder} is a mount point and cannot be replaced: name a folder below it, or mount "
            "the disk one level higher"
        )


def _mounts() -> set[str]:
    """Where something is mounted, also folders of the same disk, which os.path.ismount passes over;
    nothing where the system does not tell."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return set()
    found = {line.split(" ")[4] for line in lines.splitlines()}
    for letter in " \t\n\\":  # as proc(5) writes them
        found = {path.replace(f"\\{ord(letter):03o}", letter) for path in found}
    return found


def make_folder(folder: Path) -> None:
    """Make a folder to write files to; UserError when that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{folder} cannot be made: a file stands in its way") from error
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder} cannot be written: choose another place, or allow it")


def _recover(folder: Path) -> None:
    """Put right what killed processes left of `whole_folder(folder)`."""
    hidden = re.compile(rf"\.(new|old)-(\d+)-{re.escape(folder.name)}")
    for path in sorted(folder.parent.iterdir()):  # new before old
        name = hidden.fullmatch(path.name)
        if name is None or Path(f"/proc/{name[2]}").exists():
            continue
        if name[1] == "new":
            shutil.rmtree(path, ignore_errors=True)
        elif folder.exists():
            _move_over(path, folder)
        else:
            os.replace(path, folder)


def _move_over(old: Path, folder: Path) -> None:
    """Move files that the new folder does not have from the old one, and remove that."""
    if not old.exists():
        return
    for path in old.iterdir():
        if path.name not in (CHECKPOINT, CODES) and not (folder / path.name).exists():
            os.replace(path, folder / path.name)
    shutil.rmtree(old, ignore_errors=True)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_history(run: Path, measure: str) -> pd.DataFrame:
    """The history.csv of a finished run, a row per epoch; empty where it has none, as a probe.

    measure : that it must have beside the loss

    Raises UserError when it is not one: asked before a training that goes on from it.
    """
    import pandas as pd

    path = run / "history.csv"
    if not path.is_file():
        return pd.DataFrame()
    try:
        history = pd.read_csv(path)
    except (OSError, ValueError):
        history = pd.DataFrame()
    needed = ["loss", "val_loss", measure, f"val_{measure}"]
    numbers = history.select_dtypes("number").dropna(axis=1)
    if history.empty or not set(needed) <= set(numbers):
        raise UserError(
            f"{path} is empty or cut: expected a row per epoch with {', '.join(needed)}; train "
            "that run again with its own line and --overwrite"
        )
    return history


def packages() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def commit() -> str | None:
    """The commit of this suite, with "-dirty" where files were changed since.

    Without git that of MER_COMMIT, which an image of the suite sets (Dockerfile), else None.
    """
    line = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    if not (ROOT / ".git").exists():
        return os.environ.get("MER_COMMIT") or None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        found = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True)
        return found.stdout.strip()
    return None


def finished(run: Path, inputs: Mapping, overwrite: bool, keep_same: bool = False) -> bool:
    """Whether a run stands there, finished, with the same inputs, and is to be left alone.

    Parameters
    ----------
    inputs : all that decides the result: settings, seed, hashes of data set and parent encoder
    overwrite : train again (the finished run is replaced when the new one is done)
    keep_same : even then leave a run of the same inputs alone

    Raises UserError when a finished run with other inputs, or with files that were changed since,
    stands there and `overwrite` is False, and when it cannot be replaced.
    """
    record = read_json(run / "run.json")
    if record is not None:
        found = record.get("inputs")
        found = found if isinstance(found, dict) else {}
        differ = differences(found, json.loads(json.dumps(inputs)))
        if differ and not overwrite:
            raise UserError(
                f"{run} is finished, with other inputs than asked for ({'; '.join(differ)}): "
                f"use the same, or replace it with --overwrite"
            )
        if not overwrite:
            check_files(run, record, READ_LATER)
            return True
        if keep_same and not differ and not changed_files(run, record, READ_LATER):
            return True
    check_replaceable(run.resolve())
    return False


def differences(found: Mapping, wanted: Mapping) -> list[str]:
    """Human-readable differences between two nested dicts; what a setting that one of them lacks
    counts as, lib.config.BEFORE says."""
    return _differences(_moved(found), _moved(wanted), "")


def _differences(found: Mapping, wanted: Mapping, prefix: str) -> list[str]:
    lines = []
    for key in sorted({*found, *wanted}):
        name = f"{prefix}{key}"
        a, b = (part.get(key, BEFORE.get(name)) for part in (found, wanted))
        if a == b:
            continue
        sections = [{} if part is None else part for part in (a, b)]
        if all(isinstance(section, Mapping) for section in sections):
            lines += _differences(*sections, f"{name}.")
        else:
            lines.append(f"{name}: {_short(a)} there, {_short(b)} asked")
    return lines


def settled(inputs: Mapping) -> dict:
    """Inputs of a run without the settings that count as much where they are missing: two of them
    are alike exactly if they are equal after this."""
    found = {}
    for section, value in _moved(inputs).items():
        if isinstance(value, Mapping):
            value = {k: v for k, v in value.items() if BEFORE.get(f"{section}.{k}") != v}
        if value not in ({}, None, BEFORE.get(section)):
            found[section] = value
    return found


def same_inputs(found: str, wanted: str) -> bool:
    """Whether two fingerprints of a training, its inputs as JSON, are of the same inputs."""
    if found == wanted:
        return True
    try:
        return settled(json.loads(found)) == settled(json.loads(wanted))
    except (ValueError, TypeError, AttributeError):
        return False


def _moved(inputs: Mapping) -> Mapping:
    """Inputs with schedule and keep in the section of their step: both were of `training` once."""
    training = inputs.get("training")
    if not isinstance(training, Mapping) or not {"schedule", "keep"} & set(training):
        return inputs
    old = {key: training[key] for key in ("schedule", "keep") if key in training}
    steps = ("pretrain", "transfer", "release")
    steps = [name for name in steps if isinstance(inputs.get(name), Mapping)]
    return {
        **inputs,
        "training": {key: value for key, value in training.items() if key not in old},
        **{name: old | inputs[name] for name in steps},
    }


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 24 else text[:10] + "…"


def decisive(training: Mapping) -> dict:
    """The settings of `training` that change a result; the others only change its cost."""
    changing = ("amsgrad", "epsilon", "plateau_epochs", "plateau_factor", "stop_epochs")
    changing += ("weight_decay", "predict_dtype")
    return {key: training[key] for key in changing}


def write_run(
    folder: Path,
    inputs: Mapping,
    outcome: Mapping,
    history: list[dict] | None,
    execution: Mapping,
    began: float,
    parents: Mapping | None = None,
) -> None:
    """Write history.csv and, last of all, run.json, which makes a run finished.

    history : None for a cross-validation, whose folds have their own; execution : how it was
    computed; began : time.time() at the start; parents : inputs of the runs that it goes on from
    """
    import pandas as pd

    if history is not None:
        pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
    now = time.time()
    record = {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "finished": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now)),
        "seconds": round(now - began, 1),
        "outcome": dict(outcome),
        "inputs": dict(inputs),
        "parents": dict(parents or {}),
        "execution": dict(execution),
        "commit": commit(),
        "packages": packages(),
        "files": {
            name: file_hash(folder / name) for name in READ_LATER if (folder / name).is_file()
        },
    }
    write_json(folder / "run.json", record)
