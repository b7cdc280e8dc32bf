"""Sound that libsndfile cannot decode, or not to its end: by FFmpeg, through PyAV.

FFmpeg is given the bytes of one file and may read only formats whose sound stands in the file
itself (FORMATS): a playlist that is named like a sound file reaches neither other files nor the
network.
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
    import av  # only here: a tenth of a second, of which most files have no need

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
    """The length of all packets of a file in seconds, without decoding them.

    Raises Undecodable when FFmpeg cannot read the file.
    """
    with _opened(path) as (container, stream):
        held = sum(packet.duration or 0 for packet in container.demux(stream))
        return float(held * stream.time_base)


class Pieces:
    """The samples of a file, piece by piece: (rate in Hz, float32 (n, channels)).

    Rate and channels may differ between pieces. `promised`, once all are read, is the length in
    seconds that the file states, 0 where it states none; packets that cannot be decoded count.
    """

    def __init__(self, path: str | Path):
        self.path, self.promised = path, 0.0

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        import av

        held = lost = 0.0
        with _opened(self.path) as (container, stream):
            stated = STATED & set(container.format.name.split(","))
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    lost += float((packet.duration or 0) * packet.time_base)
                    continue
                for frame in frames:
                    held += frame.samples / frame.sample_rate
                    yield frame.sample_rate, _samples(frame)
            length = stream.duration if stated and stream.duration else 0
            self.promised = max(float(length * stream.time_base), held + lost)


def _samples(frame) -> np.ndarray:
    """The samples of a frame of sound : float32 (n, channels), integers divided by their range."""
    samples = frame.to_ndarray()
    channels = frame.layout.nb_channels
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, channels)
    if samples.dtype.kind == "u":  # unsigned 8 bit, silent at 128
        return (samples.astype(np.float32) - 128) / 128
    scale = -float(np.iinfo(samples.dtype).min) if samples.dtype.kind == "i" else 1.0
    return (samples / scale).astype(np.float32)
