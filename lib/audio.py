"""Sound files to log-mel frames, and frames to windows.

Conventions (ICASSP 2021 sec. 3.1, constants as in the released system): 16 kHz mono, divided by
its peak; magnitude STFT with a 1024-sample Hann window centred in an FFT of 2048, hop 512; 128
Slaney mel bands; natural logarithm of (mel + float32 epsilon). A window is 31 consecutive frames
(about 1 s), its hop 15 frames. Frames are stored time-major: frames : float32 (n, 128).

Samples are those of `librosa.load`, bit for bit; frames are those of
`librosa.feature.melspectrogram` within 1e-3 after the logarithm. A recording flows through in
blocks, so its length does not matter to memory.
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
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import scipy.fft
import soundfile
import soxr
from scipy.sparse import csr_array

LOG_FLOOR = float(np.finfo(np.float32).eps)  # keeps the logarithm finite; as in the original
SILENCE = 1e-4  # range of all samples below one step of 14 bits, our choice: silence or pure DC
BLOCK = 65_536  # samples decoded at a time; fits the processor's cache
BATCH = 256  # frames transformed at a time, likewise
SPOOL_BYTES = 32 << 20  # of samples kept in memory (8 min at 16 kHz), longer ones in a file
# A float32 FFT leaves rounding of up to 3e-8 of a frame's norm (L2) in a quiet mel band. Where each
# is above this share of the norm, the logarithm is off by less than 6e-4; other frames (loud
# bass, empty treble) are transformed again in float64 (benchmarks/bench_features.py, tests).
FLOAT32_LEVEL = 5e-5


UNKNOWN = 2**36 - 1  # samples: the most that a FLAC header can say; a stream's says nothing
# what soundfile raises, TypeError where a suffix (.raw) stands for sound without a header
BROKEN = (soundfile.SoundFileError, OSError, UnicodeError, TypeError)


class UnusableRecording(Exception):
    """A recording that cannot become a window; the message is the reason."""


class _Sequential(soundfile.SoundFile):
    """A sound file that is read from start to end.

    soundfile seeks after each read where it can, which restarts an mp3's decoder in mid-stream:
    slower, and not quite the samples of one read of all.
    """

    def seekable(self) -> bool:
        return False


def duration(path: str | Path) -> float:
    """Length of a sound file in seconds, from its header; 0 where that does not say.

    Raises UnusableRecording when the file is missing or no sound file.
    """
    _check_file(path)
    try:
        info = soundfile.info(str(path))
    except BROKEN as error:
        raise UnusableRecording(_reason(path, error)) from error
    return info.frames / info.samplerate if info.frames < UNKNOWN else 0.0


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
        peak = _decode(path, sample_rate, max_cut, spool)
        yield Sound(spool, peak, sample_rate, spool.tell() // np.float32().nbytes)


@dataclass(frozen=True)
class Sound:
    """A decoded recording, divided by its peak; in a file where it is long.

    spool       : its samples, as decoded : float32
    peak        : the largest magnitude of them
    sample_rate : Hz
    samples     : how many
    """

    spool: BinaryIO
    peak: np.float32
    sample_rate: int
    samples: int

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
        return _frames(self.blocks(), features)

    def envelope(self, points: int) -> np.ndarray:
        """Lowest and highest sample of each part of the recording : float32 (up to points, 2)."""
        size = math.ceil(self.samples / points)
        return np.array([(block.min(), block.max()) for block in self.blocks(size)], np.float32)


def write_audio(path: str | Path, samples: np.ndarray, sample_rate: int) -> None:
    """Write samples : float (n,), in [-1, 1]; the format follows the suffix (wav: 16 bit)."""
    soundfile.write(str(path), samples, sample_rate)


def log_mel(samples: np.ndarray, features: Mapping) -> np.ndarray:
    """Log-mel frames of a signal.

    Parameters
    ----------
    samples : float32 (n,), at `features["sample_rate"]` Hz
    features : the section `features` of the settings

    Returns
    -------
    frames : float32 (1 + n // hop_length, n_mels), natural-log magnitude
    """
    return np.concatenate(list(_frames([samples], features)))


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


def level_range(features: Mapping) -> tuple[float, float]:
    """The lowest and the highest log-mel value that samples in [-1, 1] can have."""
    bank = _bank(features)
    highest = bank.window.sum() * bank.mel.sum(axis=1).max()
    return float(np.log(LOG_FLOOR)), float(np.log(highest + LOG_FLOOR))


def window_starts(n_frames: int, length: int, hop: int) -> np.ndarray:
    """First frame of each window that fits : int64 (n_windows,)."""
    return np.arange(0, n_frames - length + 1, hop)


def window_seconds(start_frame: np.ndarray, features: Mapping) -> np.ndarray:
    """Time of a window's first frame in seconds from the start of the recording."""
    return start_frame * features["hop_length"] / features["sample_rate"]


def _decode(path: str | Path, sample_rate: int, max_cut: float, spool: BinaryIO) -> np.float32:
    """Write a file's samples, mono at `sample_rate`, to `spool`; return their peak."""
    peak = np.float32(0)
    for mono in _blocks(path, sample_rate, max_cut):
        peak = np.maximum(peak, _largest(mono))  # keeps NaN, as max() would not
        if not np.isfinite(peak):
            raise UnusableRecording("holds samples that are not finite numbers in float32")
        spool.write(mono.data)
    return peak


def _blocks(path: str | Path, sample_rate: int, max_cut: float) -> Iterator[np.ndarray]:
    """A file's samples, mono at `sample_rate`, block by block; what is wrong is told at the end.

    A block is only valid until the next.
    """
    _check_file(path)
    low, high, found, given = np.inf, -np.inf, 0, 0
    try:
        with _Sequential(str(path)) as file:
            rate, resampler = file.samplerate, None
            if rate != sample_rate:
                resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
            buffer = np.empty((BLOCK, file.channels), np.float32)
            last = False
            while not last:
                block = file.read(out=buffer)
                last = len(block) < BLOCK
                with np.errstate(all="ignore"):  # the reader of the blocks tells what is not finite
                    # channels averaged as librosa does, which has them one after the other
                    mono = block[:, 0] if file.channels == 1 else block.T.mean(axis=0)
                low, high = min(low, mono.min(initial=low)), max(high, mono.max(initial=high))
                found += len(mono)
                if resampler:
                    mono = resampler.resample_chunk(mono, last=last)
                given += len(mono)
                yield mono
            yield np.zeros(math.ceil(found * sample_rate / rate) - given, np.float32)  # as librosa
            header = file.frames if file.frames < UNKNOWN else 0
            promised = max(header, _promised(file.extra_info) * found)
    except BROKEN as error:
        raise UnusableRecording(_reason(path, error)) from error
    if found == 0:
        raise UnusableRecording("holds no samples")
    if promised - found > max_cut * promised:
        raise UnusableRecording(
            f"cut short: holds {found / rate:.1f} s of the {promised / rate:.1f} s that its header "
            "promises"
        )
    if high - low < SILENCE:
        raise UnusableRecording("silent")


def _largest(samples: np.ndarray) -> np.float32:
    """The largest magnitude, 0 of none, NaN where there is one."""
    return np.maximum(samples.max(initial=0), -samples.min(initial=0))


def _promised(log: str) -> float:
    """How many times the samples that it holds a WAV file's header promises, from libsndfile's log.

    A header that was never finished (streams) promises nothing.
    """
    line = re.search(r"^\s*data\s*: (\d+) \(should be (\d+)\)", log, re.MULTILINE)
    if not line:
        return 1.0
    promised, held = int(line[1]), int(line[2])
    return promised / held if held and promised < 0xFFFFFF00 else 1.0


def _frames(blocks: Iterable[np.ndarray], features: Mapping) -> Iterator[np.ndarray]:
    """Log-mel frames of a signal given in blocks of samples : float32 (n,)."""
    n_fft, hop = features["n_fft"], features["hop_length"]
    edge = np.zeros(n_fft // 2, np.float32)  # so that a frame is centred on its time
    rest = np.zeros(0, np.float32)
    for block in itertools.chain([edge], blocks, [edge]):
        rest = np.concatenate([rest, block])
        if len(rest) < n_fft:
            continue
        framed = np.lib.stride_tricks.sliding_window_view(rest, n_fft)[::hop]
        for start in range(0, len(framed), BATCH):
            mel = _mel(framed[start : start + BATCH], features)
            yield np.log(mel + np.float32(LOG_FLOOR))
        rest = rest[len(framed) * hop :]


def _mel(framed: np.ndarray, features: Mapping) -> np.ndarray:
    """Mel magnitudes : float32 (n, n_mels) of frames of samples : float32 (n, n_fft)."""
    mel, norm = _transform(framed, _bank(features, np.float32))
    doubtful = mel.min(axis=1) + LOG_FLOOR < FLOAT32_LEVEL * norm
    if doubtful.any():
        mel[doubtful] = _transform(framed[doubtful], _bank(features, np.float64))[0]
    return mel


def _transform(framed: np.ndarray, bank: _Bank) -> tuple[np.ndarray, np.ndarray]:
    """Mel magnitudes : (n, n_mels) and the norm of the windowed samples : (n,), in bank's type."""
    start = (framed.shape[1] - len(bank.window)) // 2  # the window is centred in the FFT
    padded = np.zeros(framed.shape, bank.window.dtype)
    windowed = padded[:, start : start + len(bank.window)]
    np.multiply(framed[:, start : start + len(bank.window)], bank.window, out=windowed)
    norm = np.sqrt(np.einsum("ij,ij->i", windowed, windowed))
    magnitude = np.abs(scipy.fft.rfft(padded, axis=1))
    return np.ascontiguousarray((bank.mel @ magnitude.T).T), norm


class _Bank(NamedTuple):
    """window : float (win_length,); mel : sparse float (n_mels, 1 + n_fft // 2)."""

    window: np.ndarray
    mel: csr_array


def _bank(features: Mapping, dtype: type = np.float64) -> _Bank:
    sizes = (features[key] for key in ("sample_rate", "n_fft", "win_length", "n_mels"))
    return _bank_of(*sizes, dtype)


@lru_cache(maxsize=8)
def _bank_of(sample_rate: int, n_fft: int, win_length: int, n_mels: int, dtype: type) -> _Bank:
    import librosa.filters  # only here: half a second, of which training has no need

    window = librosa.filters.get_window("hann", win_length)
    mel = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels)
    return _Bank(window.astype(dtype), csr_array(mel.astype(dtype)))


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
    if said.startswith("File does not exist"):  # libsndfile, when its MP3 decoder takes no interest
        said = "no sound file, or damaged"
    return f"cannot be decoded ({said})"
