"""Decode with FFmpeg, through PyAV, what libsndfile cannot decode completely.

FFmpeg gets the bytes of one file and reads only formats that hold their sound in that file
(FORMATS): a playlist named like a sound file cannot access other files or the network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

FORMATS = "mp3,ogg,flac,wav,w64,aiff,caf,au,mov,asf,matroska,aac,amr,ape,wv,tta,ac3,mpeg,mpegts,avi"
# formats that state the length of their sound; for others FFmpeg estimates it from the bit rate
STATED = {"flac", "w64", "aiff", "caf", "mov", "asf", "matroska", "ape", "wv", "tta"}


class Undecodable(Exception):
    """A file that FFmpeg cannot read; the message is the reason."""


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[tuple]:
    """The container and its first stream of sound; Undecodable if it has none."""
    import av  # only here: it takes a tenth of a second, and most files do not need it

    av.logging.set_level(av.logging.PANIC)
    with open(path, "rb") as file:
        try:
            container = av.open(file, options={"format_whitelist": FORMATS})
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise Undecodable(getattr(error, "strerror", None) or str(error)) from error
        with container:
            if not container.streams.audio:
                raise Undecodable("holds no sound")
            try:
                yield container, container.streams.audio[0]
            except av.error.FFmpegError as error:  # the file is damaged further on
                raise Undecodable(error.strerror) from error


def seconds_held(path: str | Path) -> float:
    """The length of all packets of a file in seconds, without decoding them. Raises Undecodable."""
    with _opened(path) as (container, stream):
        held = sum(packet.duration or 0 for packet in container.demux(stream))
        return float(held * stream.time_base)


class Pieces:
    """The samples of a file, piece by piece: (rate in Hz, float32 (n, channels)).

    Rate and channels may differ between pieces. After all pieces are read, `promised` is the length
    in seconds that the file states, or else that of all its packets, decoded or not.
    """

    def __init__(self, path: str | Path):
        self.path, self.promised = path, 0.0

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        import av

        seconds = 0.0
        with _opened(self.path) as (container, stream):
            stated = STATED & set(container.format.name.split(","))
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    seconds += float((packet.duration or 0) * packet.time_base)
                    continue
                for frame in frames:
                    seconds += frame.samples / frame.sample_rate
                    yield frame.sample_rate, _samples(frame)
            length = stream.duration if stated and stream.duration else 0
            self.promised = max(float(length * stream.time_base), seconds)


def _samples(frame) -> np.ndarray:
    """The samples of a frame of sound : float32 (n, channels); integers are scaled to [-1, 1]."""
    samples = frame.to_ndarray()
    channels = frame.layout.nb_channels
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, channels)
    if samples.dtype.kind == "u":  # unsigned 8 bit, silent at 128
        return (samples.astype(np.float32) - 128) / 128
    scale = -float(np.iinfo(samples.dtype).min) if samples.dtype.kind == "i" else 1.0
    return (samples / scale).astype(np.float32)
