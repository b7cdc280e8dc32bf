"""Sound that libsndfile cannot decode, or not to its end: by FFmpeg, through PyAV.

FFmpeg gets the bytes of one file and reads only formats that hold their sound in that file
(FORMATS): a playlist that is named like a sound file reaches neither other files nor the network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

FORMATS = "mp3,ogg,flac,wav,w64,aiff,caf,au,mov,asf,matroska,aac,amr,ape,wv,tta,ac3,mpeg,mpegts,avi"
# their stated length is the sound's own; for the others FFmpeg estimates it from the bit rate
STATED = {"flac", "w64", "aiff", "caf", "mov", "asf", "matroska", "ape", "wv", "tta"}


class Undecodable(Exception):
    """A file that FFmpeg cannot read; the message is the reason."""


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[tuple]:
    """The container and its first stream of sound; Undecodable where there is none."""
    import av  # only here: it takes a tenth of a second, and most files do without

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
            except av.error.FFmpegError as error:  # a damaged file, in the midst of it
                raise Undecodable(error.strerror) from error


def seconds_held(path: str | Path) -> float:
    """The length of all packets of a file in seconds, without decoding them. Raises Undecodable."""
    with _opened(path) as (container, stream):
        held = sum(packet.duration or 0 for packet in container.demux(stream))
        return float(held * stream.time_base)


class Pieces:
    """The samples of a file, piece by piece: (rate in Hz, float32 (n, channels)).

    Rate and channels may differ between pieces. `promised`, once all are read, is the length in
    seconds that the file states, or else that of all its packets, decoded or not.
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
    """The samples of a frame of sound : float32 (n, channels), integers divided by their range."""
    samples = frame.to_ndarray()
    channels = frame.layout.nb_channels
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, channels)
    if samples.dtype.kind == "u":  # unsigned 8 bit, silent at 128
        return (samples.astype(np.float32) - 128) / 128
    scale = -float(np.iinfo(samples.dtype).min) if samples.dtype.kind == "i" else 1.0
    return (samples / scale).astype(np.float32)
