"""Find files by name: skip hidden ones, detect names that are not UTF-8, match two spellings."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from unicodedata import normalize

from lib.errors import UserError


def visible(folder: Path) -> list[Path]:
    """The entries of a folder, sorted, without hidden ones (macOS leaves ._song.mp3)."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def by_suffix(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The entries of a folder with one of these suffixes, in any case, without hidden ones."""
    return [path for path in visible(folder) if path.suffix.lower() in suffixes]


def is_utf8(name: str | Path) -> bool:
    """Whether a name is UTF-8; Python keeps bytes that are not UTF-8 as surrogates."""
    return not any("\udc80" <= letter <= "\udcff" for letter in str(name))


class Names:
    """Names of a folder, found exactly or, failing that, by their Unicode normal form.

    macOS writes a letter with an accent as two characters (NFD), most tables as one (NFC).
    """

    def __init__(self, names: Iterable[str], folder: Path) -> None:
        self.exact = set(names)
        self.folder = folder
        self.alike: dict[str, list[str]] = {}
        for name in sorted(self.exact):
            self.alike.setdefault(normalize("NFC", name), []).append(name)

    def find(self, name: str) -> str | None:
        """The name as the folder has it, or None; UserError if two names look like `name`."""
        if name in self.exact:
            return name
        alike = self.alike.get(normalize("NFC", name), [])
        if len(alike) > 1:
            raise UserError(
                f"{self.folder} has {len(alike)} names that look like {name} "
                f"({', '.join(map(ascii, alike))}): rename all but one"
            )
        return alike[0] if alike else None


class Files:
    """Paths below a folder, each part found by Names; a folder is listed only once."""

    def __init__(self) -> None:
        self.folders: dict[Path, Names] = {}

    def below(self, folder: Path, path: str) -> Path:
        """The file that a table calls `path`; the path as in the table if there is none."""
        wanted = folder / path
        if path.isascii() or os.path.lexists(wanted):
            return wanted
        place = folder
        for part in Path(path).parts:
            place /= part if part == ".." else self._names(place).find(part) or part
        return place

    def _names(self, folder: Path) -> Names:
        if folder not in self.folders:
            names = os.listdir(folder) if folder.is_dir() else []
            self.folders[folder] = Names(names, folder)
        return self.folders[folder]
