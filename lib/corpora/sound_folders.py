"""Find the sound files below any folder. Imports nothing heavy."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from lib.errors import one_line
from lib.labels import SOUND


def sound_files_below(folder: Path, report: Callable) -> tuple[list[Path], list[str]]:
    """The sound files below a folder, by their suffix, and messages about what cannot be read.

    Links to folders are followed, each folder once; hidden files and folders are left out.
    """
    files, errors, seen = [], [], set()
    for where, folders, names in os.walk(folder, onerror=errors.append, followlinks=True):
        place = os.path.realpath(where)
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        shown = [name for name in folders if name[0] != "."]
        # links last, so that files are named by their real folder
        folders[:] = sorted(shown, key=lambda name: (Path(where, name).is_symlink(), name))
        files += [Path(where, name) for name in names if name[0] != "."]
    failed = [f"{one_line(error.filename)}: {error.strerror}" for error in errors]
    sound = sorted(path for path in files if path.suffix.lower() in SOUND)
    if not sound:
        failed.append(f"{folder}: no sound files in this folder ({' '.join(SOUND)})")
    elif others := len(files) - len(sound):
        suffixes = {path.suffix.lower() or "no suffix" for path in files} - {*SOUND}
        kinds = ", ".join(sorted(suffixes))
        report(f"skipped in {folder}: {others} files that are not sound ({kinds})")
    return sound, failed
