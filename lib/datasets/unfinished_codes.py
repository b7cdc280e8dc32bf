"""Keep codes while they are made, in a folder next to the codes file, so a killed run can resume.

about.json          the description for the codes file
recordings.jsonl    a line per recording: its name, rows, width and digest; written last
codes.f32           float32 (rows, width), in the order of the lines
start_seconds.f32   float32 (rows,)
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lib.artefacts import files
from lib.errors import UserError
from lib.features.frame_packing import digest

ABOUT, LINES, CODES, STARTS = "about.json", "recordings.jsonl", "codes.f32", "start_seconds.f32"


class UnfinishedCodes:
    """The recordings in a folder; an incomplete last one, left by a kill, is removed.

    about     : what decides the codes; UserError when recordings of other codes are finished
    overwrite : remove those instead

    rows  : {recording: (first row, row after its last)}
    width : of the codes; None while there are none
    """

    def __init__(self, folder: Path, about: Mapping, overwrite: bool = False):
        stored = files.read_json(folder / ABOUT)
        if stored != about:
            lines = folder / LINES
            if stored and not overwrite and lines.is_file() and lines.stat().st_size:
                differ = sorted(key for key in about if stored.get(key) != about[key])
                raise UserError(
                    f"{folder} holds unfinished codes of another encoder or version "
                    f"({', '.join(differ)} differ): remove it, or write to another file"
                )
            shutil.rmtree(folder, ignore_errors=True)
        self.folder, self.rows, self.width, self.end = folder, {}, None, 0
        files.make_folder(folder)
        for name in (LINES, CODES, STARTS):
            (folder / name).touch()
        files.write_json(folder / ABOUT, about)
        self._recover()

    def add(self, recording: str, codes: np.ndarray, start_seconds: np.ndarray) -> None:
        """Append a recording : float32 (n, width), (n,)."""
        line = {"recording": recording, "rows": len(codes), "width": codes.shape[1]}
        line |= {"digest": digest(codes), "starts_digest": digest(start_seconds)}
        for name, content in (
            (CODES, codes.data),
            (STARTS, start_seconds.data),
            (LINES, json.dumps(line).encode() + b"\n"),
        ):
            with open(self.folder / name, "ab") as file:
                file.write(content)
        self._count(line)

    def codes(self) -> np.ndarray:
        """float32 (rows, width), on disk."""
        return np.memmap(self.folder / CODES, np.float32, "r", shape=(self.end, self.width))

    def start_seconds(self) -> np.ndarray:
        """float32 (rows,)."""
        return np.fromfile(self.folder / STARTS, np.float32)

    def _count(self, line: Mapping) -> None:
        self.rows[line["recording"]] = (self.end, self.end + line["rows"])
        self.end, self.width = self.end + line["rows"], line["width"]

    def _recover(self) -> None:
        """Count the recordings that are complete, and cut off what follows them."""
        whole = 0
        paths = [self.folder / name for name in (CODES, STARTS)]
        with open(paths[0], "rb") as codes, open(paths[1], "rb") as starts:
            for text in (self.folder / LINES).read_bytes().splitlines(keepends=True):
                try:
                    line = json.loads(text)
                    rows, width = line["rows"], line["width"]
                    parts = (codes.read(4 * rows * width), starts.read(4 * rows))
                    kept = [digest(np.frombuffer(part, np.uint8)) for part in parts]
                    if kept != [line["digest"], line["starts_digest"]] or text[-1:] != b"\n":
                        break
                except (ValueError, KeyError, TypeError):
                    break
                self._count(line)
                whole += len(text)
        for name, size in (
            (LINES, whole),
            (CODES, 4 * self.end * (self.width or 0)),
            (STARTS, 4 * self.end),
        ):
            os.truncate(self.folder / name, size)
