"""Extract single recordings and write them to the files of one process.

Worker processes import this module, so it imports little. A shard is a pair of files that one
process appends to:
    <name>.frames   uint16, the packed frames of recordings, in the order in which they came
    <name>.journal  JSON, a line per recording: its file (path, bytes, modified, sha256), and where
                    its frames are (shard, start, length, digest) or why it has none (reason)
A line is written after its frames, so a killed process leaves only complete recordings.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from lib.artefacts.files import file_hash
from lib.features import audio_decoding, worker_processes
from lib.features.frame_packing import Packing, digest

FILE = ("path", "bytes", "modified")  # identify the file that was extracted


def stamp(path: str) -> dict:
    """Size in bytes and time of modification (ns since 1970) of a file, -1 if there is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return {"bytes": -1, "modified": -1}
    return {"bytes": status.st_size, "modified": status.st_mtime_ns}


def extract_one(row: Mapping, features: Mapping, max_cut: float) -> tuple[dict, np.ndarray | None]:
    """The journal's entry of a recording, and its packed frames if it has any.

    row : recording, path, bytes, modified; max_cut : as in audio_decoding.read_audio
    """
    entry = {key: row[key] for key in ("recording", *FILE)} | {"sha256": None}
    pack = Packing.of(features).pack
    try:
        parts = list(map(pack, audio_decoding.stream(row["path"], features, max_cut)))
        entry["sha256"] = file_hash(Path(row["path"]))
    except audio_decoding.UnusableRecording as reason:
        return entry | {"reason": str(reason)}, None
    if any(value != row[key] for key, value in stamp(row["path"]).items()):
        return entry | {"reason": "was changed while it was read"}, None
    frames = np.concatenate(parts)
    return entry | {"length": len(frames), "digest": digest(frames)}, frames


class Shard:
    """A new shard in a folder; its files are created with the first recording."""

    def __init__(self, folder: Path):
        self.folder, self.name = folder, f"{os.getpid()}-{secrets.token_hex(4)}"
        self.frames = self.journal = None

    def add(self, entry: dict, frames: np.ndarray | None) -> dict:
        """Append a recording: its frames first, then its line. Returns the entry as written."""
        if self.frames is None:
            self.frames = open(self.folder / f"{self.name}.frames", "ab")
            self.journal = open(self.folder / f"{self.name}.journal", "ab")
        if frames is not None:
            entry = entry | {"shard": self.name, "start": self.frames.tell()}
            self.frames.write(frames.data)
            self.frames.flush()
        self.journal.write((json.dumps(entry, ensure_ascii=False) + "\n").encode())
        self.journal.flush()
        return entry

    def close(self) -> None:
        if self.frames is not None:
            self.frames.close()
            self.journal.close()


def entries(folder: Path) -> Iterator[dict]:
    """The entries of all shards in a folder; of each shard, those before its first damaged line."""
    for path in sorted(folder.glob("*.journal")):
        with open(path, "rb") as lines:
            for line in lines:
                try:
                    entry = json.loads(line) if line.endswith(b"\n") else None
                except ValueError:
                    entry = None
                if not isinstance(entry, dict):
                    break
                yield entry


def keep_memory() -> None:
    """Make the C library keep freed memory for the next recording.

    The library returns memory to the system when more than a limit is free. Getting the pages back
    takes up to a third of the time here. The limit grows to twice the largest block ever freed, up
    to 64 MB (glibc's mallopt(3), M_MMAP_THRESHOLD); other C libraries lose nothing by this.
    """
    np.empty(31 << 20, np.uint8)


def begin_worker(folder: Path, extractor: Callable) -> None:
    """Prepare a worker process. extractor : `extract_one` with its settings."""
    global _shard, _extractor  # a worker's own, for its lifetime
    _shard, _extractor = Shard(folder), extractor
    keep_memory()
    worker_processes.end_with_parent()


def work(rows: Iterable[Mapping]) -> list[dict]:
    """Extract recordings in a worker process to its shard. Returns their entries."""
    return [_shard.add(*_extractor(row)) for row in rows]
