"""Collect the sound files to predict from files, folders and standard input."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lib.console import say
from lib.corpora.sound_folders import sound_files_below

LONGEST = 255 - len(".json")  # bytes of an output's name, without its suffix
SUMMARY = "summary.csv"


@dataclass(frozen=True)
class Input:
    """A file to predict, its name in UTF-8 (other bytes escaped), and the name of its outputs."""

    path: Path
    name: str
    stem: str

    def output(self, folder: Path, suffix: str) -> Path:
        return folder / f"{self.stem}{suffix}"


def inputs(
    given: Sequence[str], stream: BinaryIO | None, folder: Path, report: Callable = say
) -> tuple[list[Input], list[str]]:
    """Return the sound files among files, folders and "-", and a message for each unusable input.

    stream : the sound for "-"; it is saved as a file in `folder`
    report : prints which files of a folder are skipped

    Outputs are named after their file. They keep its suffix if two names would be the same.
    """
    sources, failed = [], []
    for text in dict.fromkeys(given):
        path = Path(text)
        if not text:
            failed.append("an input name is empty: give the name of a file or folder")
        elif text == "-" and stream is None:
            failed.append("-: there is no standard input")
        elif text == "-":
            path = folder / "stdin"
            with open(path, "wb") as file:
                shutil.copyfileobj(stream, file)
            sources.append((path, Path("stdin"), text))
        elif path.is_dir():
            inside, unread = sound_files_below(path, report)
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
            failed.append(f"{text}: another input also writes {stem}.*: predict it separately")
        else:
            result[stem] = Input(path, text.encode("utf-8", "backslashreplace").decode(), stem)
    return list(result.values()), failed


def _short(stem: str) -> str:
    """Cut a name of outputs to what file systems allow; a hash keeps it unique."""
    path = Path(stem)
    name = os.fsencode(path.name)
    if len(name) <= LONGEST:
        return stem
    kept = name[: LONGEST - 9].decode("utf-8", "ignore")
    return str(path.with_name(f"{kept}-{hashlib.sha256(name).hexdigest()[:8]}"))
