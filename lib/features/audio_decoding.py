"""Decode sound files to mono samples at one rate, divided by their peak.

Samples are those of `librosa.load`, bit for bit. libsndfile decodes a file; if it cannot, or stops
before the end, FFmpeg does. A recording is processed in blocks, so memory does not depend on its
length.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soxr

from lib.errors import UserError
from lib.features import ffmpeg_decoding, libsndfile_decoding
from lib.features.log_mel import log_mel_frames

SILENCE = 1e-4  # range of all samples below one step of 14 bits, our choice: silence or pure DC
BLOCK = libsndfile_decoding.BLOCK
SPOOL_BYTES = 32 << 20  # of samples kept in memory (8 min at 16 kHz), more go to a file
PADDING = 0.3  # s that decoders remove from the ends of MP3 and Opus at most [ours]
# peak of the channels' mean divided by that of the channels [ours]; below this the channels cancel
# each other, and the first one is used
CANCELLED = 0.01


class UnusableRecording(UserError):
    """A recording that gives no window; the message is the reason."""


def duration(path: str | Path) -> float:
    """Length of a sound file in seconds, from its header, or else from its packets, undecoded.

    Raises UnusableRecording when the file is missing or is not a sound file.
    """
    _check_file(path)
    with contextlib.suppress(*libsndfile_decoding.ERRORS):
        if seconds := libsndfile_decoding.seconds_stated(path):
            return seconds
    try:
        return ffmpeg_decoding.seconds_held(path)
    except ffmpeg_decoding.Undecodable as error:
        raise UnusableRecording(_reason(path, error)) from error


def read_audio(path: str | Path, sample_rate: int, max_cut: float = 1.0) -> np.ndarray:
    """Decode a sound file to mono at `sample_rate`, divided by its peak.

    max_cut : share of the length that the file's header promises that may be missing

    Returns samples : float32 (n,), in [-1, 1]. Raises UnusableRecording when the file cannot be
    decoded, is empty, silent or cut short, or holds samples that are not finite.
    """
    with decoded(path, sample_rate, max_cut) as sound:
        return np.concatenate(list(sound.blocks()))


def extract(path: str | Path, features: Mapping, max_cut: float = 1.0) -> np.ndarray:
    """Log-mel frames : float32 (n, n_mels) of a sound file; otherwise like `stream`."""
    return np.concatenate(list(stream(path, features, max_cut)))


def stream(path: str | Path, features: Mapping, max_cut: float = 1.0) -> Iterator[np.ndarray]:
    """Log-mel frames of a sound file, float32 (up to BATCH, n_mels) at a time.

    Raises UnusableRecording as `read_audio` does, and when there are too few for one window.
    """
    with decoded(path, features["sample_rate"], max_cut) as sound:
        yield from sound.frames(features)


@contextlib.contextmanager
def decoded(path: str | Path, sample_rate: int, max_cut: float = 1.0) -> Iterator[Sound]:
    """A decoded sound file, valid inside the block; otherwise like `read_audio`."""
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as spool:
        yield _decode(path, sample_rate, max_cut, spool=spool)


@dataclass(frozen=True)
class Sound:
    """A decoded recording, divided by its peak; a long one is kept in a file.

    spool       : its samples, as decoded : float32
    peak        : their largest magnitude
    sample_rate : Hz
    samples     : number of samples
    promised    : seconds that the file states, if it is cut short; else those of the samples
    """

    spool: BinaryIO
    peak: np.float32
    sample_rate: int
    samples: int
    promised: float

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate

    def blocks(self, size: int = BLOCK) -> Iterator[np.ndarray]:
        """Samples in [-1, 1] : float32 (up to size,) at a time."""
        self.spool.seek(0)
        while block := self.spool.read(size * np.float32().nbytes):
            yield np.frombuffer(block, np.float32) / self.peak

    def frames(self, features: Mapping) -> Iterator[np.ndarray]:
        """Log-mel frames : float32 (up to BATCH, n_mels) at a time.

        Raises UnusableRecording when there are too few for one window.
        """
        count, needed = 1 + self.samples // features["hop_length"], features["window_frames"]
        if count < needed:
            raise UnusableRecording(f"shorter than one window: {count} of {needed} frames")
        return log_mel_frames(self.blocks(), features)

    def envelope(self, points: int) -> np.ndarray:
        """Lowest and highest sample of each part of the recording : float32 (up to points, 2)."""
        size = math.ceil(self.samples / points)
        parts = []
        for block in self.blocks(size * max(1, BLOCK // size)):
            starts = np.arange(0, len(block), size)
            ends = [np.minimum.reduceat(block, starts), np.maximum.reduceat(block, starts)]
            parts.append(np.stack(ends, axis=1))
        return np.concatenate(parts)


def _decode(path: str | Path, sample_rate: int, max_cut: float, spool: BinaryIO) -> Sound:
    """Write a file's samples to `spool`; otherwise like `read_audio`."""
    _check_file(path)
    pieces, broken = libsndfile_decoding.Pieces(path), None
    mono = _Mono(spool, sample_rate)
    try:
        mono.write(pieces)
    except libsndfile_decoding.ERRORS as error:
        broken = error
    if broken or mono.seconds == 0 or _goes_on(pieces, mono.seconds):
        pieces = ffmpeg_decoding.Pieces(path)
        mono = _Mono(spool, sample_rate)
        try:
            mono.write(pieces)
        except ffmpeg_decoding.Undecodable as error:
            raise UnusableRecording(_reason(path, broken or error)) from error
    if max(mono.high, -mono.low, 0) < CANCELLED * mono.loudest:
        mono = _Mono(spool, sample_rate, channel=0)
        mono.write(pieces)
    if mono.seconds == 0:
        raise UnusableRecording("holds no samples")
    promised = pieces.promised
    missing = promised - mono.seconds
    if missing > max_cut * promised:
        raise UnusableRecording(
            f"cut short: {mono.seconds:.1f} s of the {promised:.1f} s in its header can be decoded"
        )
    if mono.high - mono.low < SILENCE:
        raise UnusableRecording("silent")
    held = mono.samples / sample_rate
    promised = max(promised, held) if missing > PADDING else held
    return Sound(spool, mono.peak, sample_rate, samples=mono.samples, promised=promised)


def _goes_on(pieces: libsndfile_decoding.Pieces, seconds: float) -> bool:
    """Whether a file holds more than the `seconds` that libsndfile has read of it."""
    with contextlib.suppress(ffmpeg_decoding.Undecodable):
        return pieces.may_go_on() and ffmpeg_decoding.seconds_held(pieces.path) > seconds + PADDING
    return False


class _Mono:
    """Writes sound to an emptied spool as mono at `sample_rate`, and measures it.

    channel : the channel to use; None: the mean of all
    """

    def __init__(self, spool: BinaryIO, sample_rate: int, channel: int | None = None):
        self.spool, self.sample_rate, self.channel = spool, sample_rate, channel
        self.samples, self.peak = 0, np.float32(0)  # after resampling
        self.seconds, self.low, self.high = 0.0, np.inf, -np.inf  # before
        self.loudest = 0.0  # magnitude of any channel, where their mean is taken
        spool.seek(0)
        spool.truncate()

    def write(self, pieces: Iterable[tuple[int, np.ndarray]]) -> None:
        """Write pieces: (rate in Hz, float32 (n, channels)).

        Raises UnusableRecording when a sample is not finite.
        """
        for rate, group in itertools.groupby(pieces, key=lambda piece: piece[0]):
            resampler = soxr.ResampleStream(rate, self.sample_rate, num_channels=1, quality="HQ")
            before, count = self.samples, 0
            for _, block in group:
                mono = self._mixed(block)
                count += len(mono)
                self._append(resampler.resample_chunk(mono))
            self._append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
            end = before + math.ceil(count * self.sample_rate / rate)  # as many as librosa gives
            self._append(np.zeros(max(0, end - self.samples), np.float32))
            self.seconds += count / rate

    def _mixed(self, block: np.ndarray) -> np.ndarray:
        """Samples : float32 (n, channels) as mono (n,)."""
        with np.errstate(all="ignore"):  # `_append` refuses samples that are not finite
            if block.shape[1] > 1 and self.channel is None:
                self.loudest = max(self.loudest, float(np.abs(block).max(initial=0)))
                mono = _mean(block)
            else:
                mono = block[:, self.channel or 0]
        self.low, self.high = mono.min(initial=self.low), mono.max(initial=self.high)
        return mono

    def _append(self, mono: np.ndarray) -> None:
        self.peak = np.maximum(self.peak, np.abs(mono).max(initial=0))  # keeps NaN, unlike max()
        if not np.isfinite(self.peak):
            raise UnusableRecording("holds samples that are not finite numbers in float32")
        self.spool.write(np.ascontiguousarray(mono).data)
        self.samples += len(mono)


def _mean(block: np.ndarray) -> np.ndarray:
    """The mean of the channels, (n,), as librosa has it, bit for bit."""
    if block.shape[1] == 2:  # twenty times as fast as mean()
        return (block[:, 0] + block[:, 1]) / 2
    return block.T.mean(axis=0)


def _check_file(path: str | Path) -> None:
    """Raise UnusableRecording if it is not a regular file: some would be read for ever."""
    path = Path(path)
    if path.is_dir():
        raise UnusableRecording("is a folder, not a sound file")
    if path.is_symlink() and not path.exists():
        raise UnusableRecording("a link to a file that is not there")
    if not path.is_file():
        raise UnusableRecording("is not a regular file" if path.exists() else "no such file")


def _reason(path: str | Path, error: Exception) -> str:
    if not os.access(path, os.R_OK):
        return "no permission to read it, or gone"
    if Path(path).stat().st_size == 0:
        return "empty file"
    detail = str(getattr(error, "error_string", error))
    if detail.startswith("Format not recognised"):
        detail = "not a sound file, or damaged"
    return f"cannot be decoded ({detail})"
