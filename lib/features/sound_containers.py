"""What the bytes of MP3 and Ogg files say of their length, where libsndfile does not look.

libsndfile reads an MP3 file up to a length that its first frame states (Xing, Info or VBRI) or
that it estimates from the first bit rate, and of an Ogg file the first of several chained streams.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

TAGS = 8192  # bytes behind the sound that may be tags (ID3v1, APE, lyrics) [ours]
PAGE = 65_307  # bytes of the longest page of Ogg


class Mp3Length(NamedTuple):
    """stated : whether the first frame states how many follow; bytes : of all, 0 where unknown."""

    stated: bool
    bytes: int


def mp3_length(path: str | Path) -> Mp3Length:
    """What the first frame of an MP3 file says of its length."""
    with open(path, "rb") as file:
        head = file.read(10)
        start = 0
        if head[:3] == b"ID3":  # its size has seven bits a byte
            size = 0
            for byte in head[6:10]:
                size = size << 7 | byte
            start = 10 + size
        file.seek(start)
        frame = file.read(4096)
    for name in (b"Xing", b"Info"):
        at = frame.find(name, 0, 256)
        if at >= 0:
            numbers = [int.from_bytes(frame[k : k + 4], "big") for k in range(at + 4, at + 16, 4)]
            has_frames, has_bytes = numbers[0] & 1, numbers[0] & 2
            size = numbers[1 + has_frames] if has_bytes else 0
            return Mp3Length(bool(has_frames and numbers[1]), start + size if size else 0)
    at = frame.find(b"VBRI", 0, 256)
    if at >= 0:
        size, count = (int.from_bytes(frame[at + k : at + k + 4], "big") for k in (10, 14))
        return Mp3Length(count > 0, start + size if size else 0)
    return Mp3Length(False, 0)


def may_hold_more(path: str | Path, kind: str) -> bool:
    """Whether a file may go on behind what libsndfile reads of it; `kind` is libsndfile's name."""
    if kind == "MP3":
        length = mp3_length(path)
        return not (length.stated and 0 < Path(path).stat().st_size <= length.bytes + TAGS)
    return kind == "OGG" and _is_chained(path)


def _is_chained(path: str | Path) -> bool:
    """Whether the last page of an Ogg file is of another stream than the first."""
    with open(path, "rb") as file:
        first = file.read(27)
        size = file.seek(0, 2)
        file.seek(max(0, size - 2 * PAGE))
        end = file.read()
    last = end.rfind(b"OggS")
    return last >= 0 and first[14:18] != end[last + 14 : last + 18]
