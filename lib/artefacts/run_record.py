"""Write and check run.json: the inputs of a run, its outcome, and the hashes of its files.

run.json is written last: a run directory without it is unfinished.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lib.artefacts.files import check_replaceable, file_hash, read_json, write_json
from lib.configuration import BEFORE, ROOT
from lib.errors import UserError

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
NESTED = "nested.csv"  # the recipes of a nested cross-validation, with their inner scores
# files of a run that later stages read: run.json has the hash of each
READ_LATER = ("model.keras", "encoder.keras", "history.csv", "predictions.csv", "metrics.json")
READ_LATER += (NESTED,)
EXPORTED = "model.onnx"  # also in run.json, but optional: predict.py --export makes it
OPTIONAL = (EXPORTED, "curves.png", "reconstructions.png", "confusion.png", "confusion.pdf")
OPTIONAL += ("reliability.png", "reliability.pdf")  # not in every run; never kept from an older one


def changed_files(folder: Path, record: Mapping, names: Iterable[str]) -> list[str]:
    """Which files of a run or a data set changed since they were written.

    record : run.json or dataset.json, whose "files" has the SHA-256 of each; a file without one,
    from an older version of the suite, is not checked
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
    """Raise UserError when files changed since they were written; see `changed_files`."""
    changed = changed_files(folder, record, names)
    if changed:
        names = " and ".join(str(folder / name) for name in changed)
        raise UserError(
            f"{names}: cut, changed or gone since it was written, as its SHA-256 shows: put it "
            "back, or make it again with its own command and --overwrite"
        )


def write_history(folder: Path, history: list[dict]) -> None:
    """Write history.csv: a row per epoch."""
    import pandas as pd

    pd.DataFrame(history).to_csv(folder / "history.csv", index=False)


def read_history(run: Path, measure: str) -> pd.DataFrame:
    """The history.csv of a finished run, a row per epoch; empty if it has none, like a probe.

    measure : a column that it must have in addition to the loss

    Raises UserError when it is incomplete; called before a training that starts from this run.
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
            "that run again with its own command and --overwrite"
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
    """The commit of this suite, with "-dirty" if files were changed since.

    Without git, the value of MER_COMMIT, which an image of the suite sets (Dockerfile), or None.
    """
    line = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    if not (ROOT / ".git").exists():
        return os.environ.get("MER_COMMIT") or None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        git = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True)
        return git.stdout.strip()
    return None


def finished(run: Path, inputs: Mapping, overwrite: bool, keep_same: bool = False) -> bool:
    """Whether the run is already finished with the same inputs and need not be trained.

    Parameters
    ----------
    inputs : all that decides the result: settings, seed, hashes of data set and parent encoder
    overwrite : train again (the finished run is replaced when the new one is done)
    keep_same : keep a run with the same inputs even if `overwrite` is True

    Raises UserError when `overwrite` is False and the directory holds a finished run with other
    inputs or with files changed since, and when the directory cannot be replaced.
    """
    record = read_json(run / "run.json")
    if record is not None:
        recorded = record.get("inputs")
        recorded = recorded if isinstance(recorded, dict) else {}
        differ = differences(recorded, json.loads(json.dumps(inputs)))
        if differ and not overwrite:
            raise UserError(
                f"{run} is finished, with other inputs than asked for ({'; '.join(differ)}): "
                f"use the same inputs, or replace it with --overwrite"
            )
        if not overwrite:
            check_files(run, record, READ_LATER)
            return True
        if keep_same and not differ and not changed_files(run, record, READ_LATER):
            return True
    check_replaceable(run.resolve())
    return False


def differences(recorded: Mapping, asked: Mapping) -> list[str]:
    """Human-readable differences between two nested dicts; a setting that one of them lacks has its
    value in lib.configuration.BEFORE."""
    return _differences(_moved(recorded), _moved(asked), "")


def _differences(recorded: Mapping, asked: Mapping, prefix: str) -> list[str]:
    lines = []
    for key in sorted({*recorded, *asked}):
        name = f"{prefix}{key}"
        a, b = (part.get(key, BEFORE.get(name)) for part in (recorded, asked))
        if a == b:
            continue
        sections = [{} if part is None else part for part in (a, b)]
        if all(isinstance(section, Mapping) for section in sections):
            lines += _differences(*sections, f"{name}.")
        else:
            lines.append(f"{name}: {_short(a)} instead of {_short(b)}")
    return lines


def settled(inputs: Mapping) -> dict:
    """Inputs of a run without the settings that have their value in BEFORE: two runs have the same
    inputs exactly if these dicts are equal."""
    deciding = {}
    for section, value in _moved(inputs).items():
        if isinstance(value, Mapping):
            value = {k: v for k, v in value.items() if BEFORE.get(f"{section}.{k}") != v}
        if value not in ({}, None, BEFORE.get(section)):
            deciding[section] = value
    return deciding


def same_inputs(recorded: str, asked: str) -> bool:
    """Whether two fingerprints of a training (its inputs as JSON) have the same inputs."""
    if recorded == asked:
        return True
    try:
        return settled(json.loads(recorded)) == settled(json.loads(asked))
    except (ValueError, TypeError, AttributeError):
        return False


def _moved(inputs: Mapping) -> Mapping:
    """Inputs with schedule and keep in the section of their step; once both were in `training`."""
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


def deciding_settings(training: Mapping) -> dict:
    """The settings of `training` that change a result; the others only change its cost."""
    changing = ("amsgrad", "epsilon", "plateau_epochs", "plateau_factor", "stop_epochs")
    changing += ("weight_decay", "predict_dtype")
    return {key: training[key] for key in changing}


def write_run(
    folder: Path,
    inputs: Mapping,
    outcome: Mapping,
    *,
    execution: Mapping,
    began: float,
    parents: Mapping | None = None,
) -> None:
    """Write run.json, as the last file of a run; it marks the run as finished.

    execution : how it was computed; began : time.time() at the start; parents : inputs of the runs
    that it starts from
    """
    now = time.time()
    record = {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "finished": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now)),
        "seconds": round(now - began, 1),
        "outcome": dict(outcome),
        "inputs": dict(inputs),
        "parents": dict(parents or {}),
        "execution": dict(execution),
        "commit": commit(),
        "packages": packages(),
        "files": {
            name: file_hash(folder / name)
            for name in (*READ_LATER, EXPORTED)
            if (folder / name).is_file()
        },
    }
    write_json(folder / "run.json", record)
