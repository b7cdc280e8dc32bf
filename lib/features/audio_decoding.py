"""Sound files to mono samples at one rate, divided by their peak.

Samples are those of `librosa.load`, bit for bit. libsndfile decodes; where it cannot, or stops
before the end of a file, FFmpeg does. A recording flows through in blocks, so its length does not
matter to memory.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from lib.features import ffmpeg_decoding
from lib.features.log_mel import log_mel_frames
from lib.features.sound_containers import may_hold_more, mp3_length

SILENCE = 1e-4  # range of all samples below one step of 14 bits, our choice: silence or pure DC
BLOCK = 65_536  # samples decoded at a time; fits the processor's cache
SPOOL_BYTES = 32 << 20  # of samples kept in memory (8 min at 16 kHz), longer ones in a file
UNKNOWN = 2**36 - 1  # samples: the most that a FLAC header can say; a stream's says nothing
BROKEN = (soundfile.SoundFileError, OSError)  # what soundfile raises
# bytes that WAV headers state when their length was not known: programs that write into a pipe put
# 0, or these or up to a page less
PLACEHOLDERS = (0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
PAGE = 4096
# libsndfile corrects the sizes of WAV, AIFF, AU and W64 files that are cut, and says so in its log
CORRECTED = r"^\s*(?:data|SSND|Data Size|riff)\s*: (\d+) \(should be (\d+)\)"
PADDING = 0.3  # s that decoders cut off the ends of MP3 and Opus at most [ours]
CANCELLED = 0.01  # peak of the mean of channels by their own [ours]: they are each other's negative


class UnusableRecording(Exception):
    """A recording that cannot become a window; the message is the reason."""


class _Sequential(soundfile.SoundFile):
    """A sound file that is read from start to end.

    soundfile seeks after each read where it can, which restarts an mp3's decoder in mid-stream:
    slower, and not quite the samples of one read of all. The file is opened by its descriptor, so
    that any name will do, and libsndfile does not look for the `._name` that macOS leaves beside.
    """

    def __init__(self, path: str | Path):
        super().__init__(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))

    def seekable(self) -> bool:
        return False


def duration(path: str | Path) -> float:
    """Length of a sound file in seconds, from its header, or else from its packets, undecoded.

    Raises UnusableRecording when the file is missing or no sound file.
    """
    _check_file(path)
    try:
        with _Sequential(path) as file:
            rate, frames, kind = file.samplerate, file.frames, file.format
        if 0 < frames < UNKNOWN and (kind != "MP3" or mp3_length(path).stated):
            return frames / rate
    except BROKEN:
        pass
    try:
        return ffmpeg_decoding.seconds_held(path)
    except ffmpeg_decoding.Undecodable as error:
        raise UnusableRecording(_reason(path, error)) from error


def read_audio(path: str | Path, sample_rate: int, max_cut: float = 1.0) -> np.ndarray:
    """Decode a sound file to mono at `sample_rate`, divided by its peak.

    max_cut : share of what the file's header promises that may be missing

    Returns samples : float32 (n,), in [-1, 1]. Raises UnusableRecording when the file cannot be
    decoded, is empty, silent or cut short, or holds samples that are not finite.
    """
    with decoded(path, sample_rate, max_cut) as sound:
        return np.concatenate(list(sound.blocks()))


@contextlib.contextmanager
def decoded(path: str | Path, sample_rate: int, max_cut: float = 1.0) -> Iterator[Sound]:
    """A sound file, decoded to mono at `sample_rate`; it is gone when the block is left.

    The rest as of `read_audio`.
    """
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as spool:
        peak, promised = _decode(path, sample_rate, max_cut, spool)
        samples = spool.tell() // np.float32().nbytes
        yield Sound(spool, peak, sample_rate, samples, max(promised, samples / sample_rate))


@dataclass(frozen=True)
class Sound:
    """A decoded recording, divided by its peak; in a file where it is long.

    spool       : its samples, as decoded : float32
    peak        : the largest magnitude of them
    sample_rate : Hz
    samples     : how many
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

        Raises UnusableRecording when there are not enough for one window.
        """
        found = 1 + self.samples // features["hop_length"]
        if found < features["window_frames"]:
            raise UnusableRecording(
                f"shorter than one window: {found} of {features['window_frames']} frames"
            )
        return log_mel_frames(self.blocks(), features)

    def envelope(self, points: int) -> np.ndarray:
        """Lowest and highest sample of each part of the recording : float32 (up to points, 2)."""
        size = math.ceil(self.samples / points)
        return np.array([(block.min(), block.max()) for block in self.blocks(size)], np.float32)


def stream(path: str | Path, features: Mapping, max_cut: float = 1.0) -> Iterator[np.ndarray]:
    """The log-mel frames of a sound file, float32 (up to BATCH, n_mels) at a time.

    max_cut : share of what the file's header promises that may be missing

    Raises UnusableRecording with the reason when there are none, or not enough for one window.
    """
    with decoded(path, features["sample_rate"], max_cut) as sound:
        yield from sound.frames(features)


def extract(path: str | Path, features: Mapping, max_cut: float = 1.0) -> np.ndarray:
    """Log-mel frames : float32 (n, n_mels) of a sound file; the rest as of `stream`."""
    return np.concatenate(list(stream(path, features, max_cut)))


def _decode(
    path: str | Path, sample_rate: int, max_cut: float, spool: BinaryIO
) -> tuple[np.float32, float]:
    """Write a file's samples, mono at `sample_rate`, to `spool`.

    Returns their peak, and the length in seconds that the file promises, 0 where it is whole.
    """
    _check_file(path)
    pieces = _LibSndfile(path)
    try:
        mono = _spool(pieces, sample_rate, spool)
        broken = None
    except BROKEN as error:
        broken = error
    if broken or mono.seconds == 0 or _goes_on(path, pieces.kind, mono.seconds):
        pieces = ffmpeg_decoding.Pieces(path)
        try:
            mono = _spool(pieces, sample_rate, spool)
        except ffmpeg_decoding.Undecodable as error:
            raise UnusableRecording(_reason(path, broken or error)) from error
    if mono.cancelled:
        mono = _spool(pieces, sample_rate, spool, channel=0)
    if mono.seconds == 0:
        raise UnusableRecording("holds no samples")
    cut = pieces.promised - mono.seconds
    if cut > max_cut * pieces.promised:
        raise UnusableRecording(
            f"cut short: holds {mono.seconds:.1f} s of the {pieces.promised:.1f} s that its header "
            "promises"
        )
    if mono.high - mono.low < SILENCE:
        raise UnusableRecording("silent")
    return np.float32(mono.peak), pieces.promised if cut > PADDING else 0.0


def _goes_on(path: str | Path, kind: str, seconds: float) -> bool:
    """Whether a file holds more than the `seconds` that libsndfile has read of it."""
    if not may_hold_more(path, kind):
        return False
    try:
        return ffmpeg_decoding.seconds_held(path) > seconds + PADDING
    except ffmpeg_decoding.Undecodable:
        return False


@dataclass
class _Mono:
    """What is known of mono samples once they are written; `peak` is that after resampling."""

    peak: float = 0.0
    seconds: float = 0.0
    low: float = np.inf
    high: float = -np.inf
    loudest: float = 0.0  # magnitude of any channel, where there are several

    @property
    def cancelled(self) -> bool:
        """Whether channels are each other's negative, so that their mean holds next to nothing."""
        return max(self.high, -self.low, 0) < CANCELLED * self.loudest


def _spool(
    pieces: Iterable, sample_rate: int, spool: BinaryIO, channel: int | None = None
) -> _Mono:
    """Write pieces (rate, float32 (n, channels)), mono at `sample_rate`, to an emptied `spool`.

    channel : which to take; None: the mean of all
    """
    spool.seek(0)
    spool.truncate()
    about = _Mono()
    for rate, group in itertools.groupby(pieces, key=lambda piece: piece[0]):
        resampler, found, given = None, 0, 0
        if rate != sample_rate:
            resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
        for _, block in group:
            mono = _mixed(block, channel, about)
            found += len(mono)
            given += _write(resampler.resample_chunk(mono) if resampler else mono, about, spool)
        if resampler:
            rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
            given += _write(rest, about, spool)
        # as many as librosa gives
        rest = max(0, math.ceil(found * sample_rate / rate) - given)
        _write(np.zeros(rest, np.float32), about, spool)
        about.seconds += found / rate
    return about


def _mixed(block: np.ndarray, channel: int | None, about: _Mono) -> np.ndarray:
    """Samples : float32 (n, channels) as mono (n,): one channel, or the mean of all."""
    channels = block.shape[1]
    with np.errstate(all="ignore"):  # `_write` tells what is not finite
        if channels > 1 and channel is None:
            about.loudest = max(about.loudest, float(_largest(block)))
            mono = block.T.mean(axis=0)  # one channel after the other, as librosa has them
        else:
            mono = block[:, channel or 0]
    about.low = mono.min(initial=about.low)
    about.high = mono.max(initial=about.high)
    return mono


def _write(mono: np.ndarray, about: _Mono, spool: BinaryIO) -> int:
    """Write mono samples : float32 (n,); returns n. UnusableRecording where one is not finite."""
    about.peak = np.maximum(about.peak, _largest(mono))  # keeps NaN, as max() would not
    if not np.isfinite(about.peak):
        raise UnusableRecording("holds samples that are not finite numbers in float32")
    spool.write(np.ascontiguousarray(mono).data)
    return len(mono)


class _LibSndfile:
    """The samples of a file, piece by piece, as of ffmpeg_decoding.Pieces; a piece is only valid
    until the next. `kind` is libsndfile's name of the format, once it is opened."""

    def __init__(self, path: str | Path):
        self.path, self.kind, self.promised = path, "", 0.0

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        found = 0
        with _Sequential(self.path) as file:
            self.kind, rate = file.format, file.samplerate
            buffer = np.empty((BLOCK, file.channels), np.float32)
            # what stands behind the end of a FLAC file, a tag say, is no sound
            end = file.frames if self.kind == "FLAC" and 0 < file.frames < UNKNOWN else math.inf
            block = buffer
            while len(block) == BLOCK and found < end:
                block = file.read(out=buffer[: int(min(BLOCK, end - found))])
                found += len(block)
                yield rate, block
            self.promised = _promised(self.path, file, found) / rate


def _promised(path: str | Path, file: soundfile.SoundFile, found: int) -> float:
    """How many samples a file's header promises, 0 where it does not say; `found` were read."""
    if file.format == "MP3" and not mp3_length(path).stated:
        return 0  # libsndfile estimates it from the first bit rate
    header = file.frames if file.frames < UNKNOWN else 0
    line = re.search(CORRECTED, file.extra_info, re.MULTILINE)
    if line and int(line[2]) and not _is_placeholder(int(line[1])):
        header = max(header, int(line[1]) / int(line[2]) * found)
    return header


def _is_placeholder(size: int) -> bool:
    """Whether a size in bytes is what programs write that do not know it."""
    return size == 0 or any(0 <= limit - size <= PAGE for limit in PLACEHOLDERS)


def _largest(samples: np.ndarray) -> np.float32:
    """The largest magnitude, 0 of none, NaN where there is one."""
    return np.maximum(samples.max(initial=0), -samples.min(initial=0))


def _check_file(path: str | Path) -> None:
    """Raise UnusableRecording for what is no regular file: some would be read for ever."""
    path = Path(path)
    if path.is_file():
        return
    if path.is_dir():
        raise UnusableRecording("is a folder, not a sound file")
    if path.is_symlink() and not path.exists():
        raise UnusableRecording("a link to a file that is not there")
    raise UnusableRecording("is not a regular file" if path.exists() else "no such file")


def _reason(path: str | Path, error: Exception) -> str:
    if not os.access(path, os.R_OK):
        return "no permission to read it, or gone"
    if Path(path).stat().st_size == 0:
        return "empty file"
    said = str(getattr(error, "error_string", error))
    if said.startswith("Format not recognised"):
        said = "no sound file, or damaged"
    return f"cannot be decoded ({said})"
