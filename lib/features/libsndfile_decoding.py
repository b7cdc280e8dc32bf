"""Decode with libsndfile, and find the length that a file states.

libsndfile reads an MP3 file up to a length that its first frame states (Xing, Info or VBRI) or
that it estimates from the first bit rate. Of an Ogg file it reads only the first chained stream.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

BLOCK = 65_536  # samples decoded at a time; fits the processor's cache
UNKNOWN = 2**36 - 1  # samples: the most that a FLAC header can state; streams state this
ERRORS = (soundfile.SoundFileError, OSError)  # what soundfile raises
# sizes in WAV headers of unknown length: programs that write to a pipe store 0, or one of these
# minus up to PAGE bytes
PLACEHOLDERS = (0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
PAGE = 4096
# libsndfile corrects the sizes of WAV, AIFF, AU and W64 files that are cut, and logs that
CORRECTED = r"^\s*(?:data|SSND|Data Size|riff)\s*: (\d+) \(should be (\d+)\)"
TAGS = 8192  # bytes after the sound that may be tags (ID3v1, APE, lyrics) [ours]
OGG_PAGE = 65_307  # bytes of the longest page of Ogg


class SequentialFile(soundfile.SoundFile):
    """A sound file that is read from start to end.

    soundfile seeks after each read if it can, which restarts an MP3's decoder in mid-stream. This
    is slower, and gives slightly other samples than one read. The file is opened by its descriptor:
    any name is possible, and libsndfile does not look for the `._name` of macOS next to it.
    """

    def __init__(self, path: str | Path):
        super().__init__(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))

    def seekable(self) -> bool:
        return False


class Pieces:
    """The samples of a file, piece by piece, as ffmpeg_decoding.Pieces gives them.

    A piece is valid until the next is read. Raises ERRORS.
    """

    def __init__(self, path: str | Path):
        self.path, self.kind, self.promised = path, "", 0.0

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        count = 0
        with SequentialFile(self.path) as file:
            self.kind, stated = file.format, _frames_stated(self.path, file)
            # data after the last sample of a FLAC file, such as a tag, is not sound
            end = stated if stated and file.format == "FLAC" else UNKNOWN
            block = buffer = np.empty((BLOCK, file.channels), np.float32)
            while len(block) == BLOCK and count < end:
                block = file.read(out=buffer[: end - count])
                count += len(block)
                yield file.samplerate, block
            # a cut file states its length in bytes, of which `count` samples are left
            sizes = re.search(CORRECTED, file.extra_info, re.MULTILINE)
            stated_bytes, held_bytes = map(int, sizes.groups()) if sizes else (0, 0)
            if held_bytes and not _is_placeholder(stated_bytes):
                stated = max(stated, stated_bytes / held_bytes * count)
            self.promised = stated / file.samplerate

    def may_go_on(self) -> bool:
        """Whether the file may hold more sound than libsndfile reads."""
        if self.kind == "MP3":
            stated = _mp3_bytes(self.path)
            return stated is None or Path(self.path).stat().st_size > stated + TAGS
        return self.kind == "OGG" and _is_chained(self.path)


def seconds_stated(path: str | Path) -> float:
    """The length in seconds that a file's header states, 0 if it states none. Raises ERRORS."""
    with SequentialFile(path) as file:
        return _frames_stated(path, file) / file.samplerate


def _frames_stated(path: str | Path, file: soundfile.SoundFile) -> int:
    known = file.frames < UNKNOWN and (file.format != "MP3" or _mp3_bytes(path) is not None)
    return file.frames if known else 0


def _is_placeholder(size: int) -> bool:
    """Whether headers contain this size in bytes when the true size was not known."""
    return size == 0 or any(0 <= limit - size <= PAGE for limit in PLACEHOLDERS)


def _mp3_bytes(path: str | Path) -> int | None:
    """The number of bytes that the first frame of an MP3 file states; 0 if it only states the
    number of frames, None if it states neither."""
    with open(path, "rb") as file:
        head, start, size = file.read(10), 0, 0
        if head[:3] == b"ID3":
            for byte in head[6:10]:  # seven bits of the tag's size in each
                size = size << 7 | byte
            start = 10 + size
        file.seek(start)
        frame = file.read(272).ljust(272, b"\0")
    tag = re.search(b"Xing|Info|VBRI", frame[:256])
    count = size = 0
    if tag and tag[0] == b"VBRI":
        size, count = struct.unpack_from(">2I", frame, tag.end() + 6)
    elif tag:
        flags, *fields = struct.unpack_from(">3I", frame, tag.end())
        count = fields.pop(0) if flags & 1 else 0
        size = fields[0] if flags & 2 else 0
    if not count:
        return None
    return start + size if size else 0


def _is_chained(path: str | Path) -> bool:
    """Whether the last page of an Ogg file is of another stream than the first."""
    with open(path, "rb") as file:
        first = file.read(27)
        file.seek(max(0, file.seek(0, os.SEEK_END) - 2 * OGG_PAGE))
        end = file.read()
    last = end.rfind(b"OggS")
    return last >= 0 and first[14:18] != end[last + 14 : last + 18]
