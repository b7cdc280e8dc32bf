"""Cache of a frozen encoder's codes: computed once per window, and kept next to the data set.

    <data set>/codes/<key>.npy     float32 (n_windows, d), in the order of the windows
    <data set>/codes/<key>.json    what they were computed from, and their digest

The key is the hash of all that decides the codes: the encoder's file, the split's content, the
number format. All files together stay below a limit; the least recently used are removed first.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from tokenize import TokenError

import numpy as np
import xxhash

from lib.artefacts import files
from lib.console import say
from lib.features.frame_packing import digest

HEADER = 128  # bytes before the values in a .npy file
NAME = re.compile(r"(?P<partial>\.partial-\d+-[0-9a-f]{8})\.npy|[0-9a-f]{32}\.npy")  # of codes
ABANDONED = 3600  # s without a change after which an unfinished file counts as abandoned [ours]


class Cache:
    """The codes next to the data set `folder`, at most `limit` bytes; 0 turns the cache off."""

    def __init__(self, folder: Path, limit: float):
        self.folder, self.limit = folder / files.CODES, limit

    def get(self, of: Mapping, shape: tuple[int, int]) -> np.ndarray | None:
        """The codes that `of` describes, `shape` (n_windows, d), memory-mapped, or None."""
        path, record = self._path(of), None
        with contextlib.suppress(OSError, ValueError):
            record = json.loads(path.with_suffix(".json").read_text("utf-8"))
        if record is None or not self.limit:
            return None
        try:
            codes = np.load(path, mmap_mode="r")
            alike = codes.dtype == np.float32 and codes.shape == shape
            if alike and record == {**of, "digest": digest(codes)}:
                with contextlib.suppress(OSError):  # a read-only folder
                    os.utime(path)
                return codes
        except FileNotFoundError:  # another process made room
            return None
        except (OSError, ValueError, EOFError, TokenError):
            pass
        say(f"{path} is damaged: computing these codes again")
        return None

    def put(self, of: Mapping, blocks: Iterable[np.ndarray], shape: tuple[int, int]) -> bool:
        """Keep the codes that come in `blocks` : float32 (n, d).

        Returns False if they exceed the limit (no block is read), or if they cannot be written
        (some blocks are read, and the caller has to start again).
        """
        path, size = self._path(of), 4 * shape[0] * shape[1] + HEADER
        if size > self.limit:
            return False
        try:
            self.folder.mkdir(exist_ok=True)
            self._make_room(size)
            with files.atomic(path) as partial:
                content = _write(partial, blocks, shape)
                files.write_json(path.with_suffix(".json"), {**of, "digest": content})
        except OSError as error:
            say(f"codes are not kept in {self.folder}: {error.strerror or error}")
            return False
        return True

    def _path(self, of: Mapping) -> Path:
        key = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{key[:32]}.npy"

    def _make_room(self, size: int) -> None:
        """Remove the least recently used codes until `size` more bytes fit below the limit.

        Other processes may write and remove here at the same time.
        """
        kept, total = [], size
        for path in self.folder.iterdir():
            name = NAME.fullmatch(path.name)
            if name is None:
                continue
            with contextlib.suppress(FileNotFoundError):
                about = path.stat()
                if name["partial"] and about.st_mtime < time.time() - ABANDONED:
                    path.unlink()
                    continue
                total += about.st_size
                if not name["partial"]:
                    kept.append((about.st_mtime, about.st_size, path))
        for _, size, path in sorted(kept):
            if total <= self.limit:
                break
            total -= size
            path.with_suffix(".json").unlink(missing_ok=True)
            path.unlink(missing_ok=True)


def _write(path: Path, blocks: Iterable[np.ndarray], shape: tuple[int, int]) -> str:
    """Write codes as .npy; returns their digest, as `digest` gives it."""
    content = xxhash.xxh3_128()
    with open(path, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        os.posix_fallocate(file.fileno(), file.tell(), 4 * shape[0] * shape[1])
        for block in blocks:
            codes = np.ascontiguousarray(block, np.float32)
            content.update(codes.data)
            file.write(codes.data)
    return content.hexdigest()
