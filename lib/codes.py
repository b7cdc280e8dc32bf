"""Codes of a frozen encoder: computed once per window, and kept beside the data set.

    <data set>/codes/<key>.npy     float32 (n_windows, d), in the order of the windows
    <data set>/codes/<key>.json    what they are of, and their digest

The key is the hash of all that decides them: the encoder's file, the split's content, the number
format. All files together stay below a bound; those used longest ago go first.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from lib import artefacts
from lib.cli import say
from lib.errors import NO_ROOM
from lib.packing import digest


class Cache:
    """The codes beside the data set `folder`, at most `limit` bytes of them; 0: none are used."""

    def __init__(self, folder: Path, limit: float):
        self.folder, self.limit = folder / artefacts.CODES, limit

    def get(self, of: Mapping) -> np.ndarray | None:
        """The codes (n_windows, d) of what `of` says, mapped from their file, or None."""
        path = self._path(of)
        record = _read(path.with_suffix(".json")) if self.limit else None
        if record is None:
            return None
        try:
            codes = np.load(path, mmap_mode="r")
            if digest(codes) == record.get("digest"):
                os.utime(path)
                return codes
        except (OSError, ValueError, EOFError):
            pass
        say(f"{path} is damaged: computing these codes again")
        return None

    def put(self, of: Mapping, blocks: Iterator[np.ndarray], shape: tuple[int, int]) -> bool:
        """Keep the codes that come in `blocks` : float32 (n, d); False, with none of them taken,
        where they do not fit below the bound or the folder cannot be written."""
        path, size = self._path(of), 4 * shape[0] * shape[1] + 128
        if size > self.limit:
            return False
        try:
            self.folder.mkdir(exist_ok=True)
            self._make_room(size)
            with artefacts.atomic(path) as partial, open(partial, "wb") as file:
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                os.posix_fallocate(file.fileno(), file.tell(), size - 128)
                for block in blocks:
                    file.write(np.ascontiguousarray(block, np.float32).data)
        except OSError as error:
            if isinstance(error, PermissionError) or error.errno in (*NO_ROOM, 30):  # 30: read-only
                say(f"codes are not kept in {self.folder}: {error.strerror}")
                return False
            raise
        found = np.load(path, mmap_mode="r")
        artefacts.write_json(path.with_suffix(".json"), {**of, "digest": digest(found)})
        return True

    def _path(self, of: Mapping) -> Path:
        key = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{key[:32]}.npy"

    def _make_room(self, size: int) -> None:
        files = sorted(self.folder.glob("*.npy"), key=lambda path: path.stat().st_mtime)
        total = size + sum(path.stat().st_size for path in files)
        for path in files:
            if total <= self.limit:
                break
            total -= path.stat().st_size
            path.with_suffix(".json").unlink(missing_ok=True)
            path.unlink(missing_ok=True)


def _read(path: Path) -> dict | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
