"""Compute log-mel frames from samples, and windows from frames. Pure functions on arrays.

Conventions (ICASSP 2021 sec. 3.1, constants as in the released system): 16 kHz mono, divided by
its peak; magnitude STFT with a 1024-sample Hann window centred in an FFT of 2048, hop 512; 128
Slaney mel bands; natural logarithm of (mel + float32 epsilon). A window is 31 consecutive frames
(about 1 s), its hop 15 frames. Frames are stored time-major: frames : float32 (n, 128). They are
those of `librosa.feature.melspectrogram` within 1e-3 after the logarithm.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import scipy.fft
from scipy.sparse import csr_array

LOG_FLOOR = float(np.finfo(np.float32).eps)  # keeps the logarithm finite; as in the original
BATCH = 256  # frames transformed at a time; fits the processor's cache
# In float32, the FFT's rounding error is up to 3e-8 of a frame's norm (L2) in a quiet mel band. If
# all bands are above this share of the norm, the logarithm's error is below 6e-4. Other frames
# (loud bass, empty treble) are computed again in float64 (benchmarks/bench_features.py, tests).
FLOAT32_LEVEL = 5e-5
# Slaney's mel scale: Hz per mel up to BREAK (Hz), above it the logarithm of Hz per mel
LINEAR, BREAK, STEP = 200 / 3, 1000.0, np.log(6.4) / 27


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


def log_mel_frames(blocks: Iterable[np.ndarray], features: Mapping) -> Iterator[np.ndarray]:
    """Log-mel frames of a signal in blocks.

    blocks : samples, float32 (n,) each, at `features["sample_rate"]` Hz
    features : the section `features` of the settings

    Returns frames : float32 (n, n_mels), natural-log magnitude; 1 + samples // hop_length in all.
    """
    for framed in frames_of_samples(blocks, features["n_fft"], features["hop_length"]):
        for start in range(0, len(framed), BATCH):
            mel = _mel(framed[start : start + BATCH], features)
            yield np.log(mel + np.float32(LOG_FLOOR))


def frames_of_samples(blocks: Iterable[np.ndarray], n_fft: int, hop: int) -> Iterator[np.ndarray]:
    """Frames of samples : float32 (n, n_fft), `hop` apart, each centred on its time."""
    edge = np.zeros(n_fft // 2, np.float32)
    rest, start = edge[:0], 0  # samples still needed, and where the next frame starts in them
    for block in itertools.chain([edge], blocks, [edge]):
        rest = np.concatenate([rest, block])
        if start + n_fft <= len(rest):
            framed = np.lib.stride_tricks.sliding_window_view(rest, n_fft)[start::hop]
            yield framed
            start += len(framed) * hop
            rest, start = rest[start:], max(0, start - len(rest))


def cut(frames: Iterable[np.ndarray], length: int, hop: int, size: int) -> Iterator[np.ndarray]:
    """Windows of frames that are given in blocks : float32 (n, n_mels).

    Returns windows : float32 (up to size, n_mels, length, 1), `hop` frames apart, as many as fit.
    """
    windows = _windows(frames, length, hop)
    while batch := list(itertools.islice(windows, size)):
        yield np.stack(batch)[..., None]


def _windows(frames: Iterable[np.ndarray], length: int, hop: int) -> Iterator[np.ndarray]:
    rest, start = None, 0  # frames that are still needed, and where the next window starts in them
    for block in frames:
        rest = block if rest is None else np.concatenate([rest, block])
        while start + length <= len(rest):
            yield rest[start : start + length].T
            start += hop
        rest, start = rest[start:], max(0, start - len(rest))


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
    return _bank_of(
        sample_rate=features["sample_rate"],
        n_fft=features["n_fft"],
        win_length=features["win_length"],
        n_mels=features["n_mels"],
        dtype=dtype,
    )


@lru_cache(maxsize=8)
def _bank_of(sample_rate: int, n_fft: int, win_length: int, n_mels: int, dtype: type) -> _Bank:
    mel = mel_filters(sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels)
    return _Bank(hann(win_length).astype(dtype), csr_array(mel.astype(dtype)))


def hann(length: int) -> np.ndarray:
    """The periodic Hann window : float64 (length,), bit for bit that of scipy.signal."""
    return (0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, length + 1)))[:-1]


def mel_filters(sample_rate: int, n_fft: int, n_mels: int) -> np.ndarray:
    """Triangles of Slaney's mel scale, each of area 1 (Auditory Toolbox, 1998).

    Returns weights : float32 (n_mels, 1 + n_fft // 2), bit for bit those of `librosa.filters.mel`;
    importing librosa takes half a second, which is too long for prediction.
    """
    edges = _slaney_hz(np.linspace(0, _slaney_mel(sample_rate / 2), n_mels + 2))
    ramps = np.subtract.outer(edges, np.fft.rfftfreq(n_fft, 1 / sample_rate))
    width = np.diff(edges)[:, None]
    rising, falling = -ramps[:-2] / width[:-1], ramps[2:] / width[1:]
    weights = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    weights *= (2 / (edges[2:] - edges[:-2]))[:, None]
    return weights


def _slaney_mel(hz: float) -> float:
    """Mel of a frequency; the scale is logarithmic above BREAK."""
    return BREAK / LINEAR + np.log(hz / BREAK) / STEP if hz >= BREAK else hz / LINEAR


def _slaney_hz(mel: np.ndarray) -> np.ndarray:
    bent = BREAK / LINEAR
    return np.where(mel < bent, LINEAR * mel, BREAK * np.exp(STEP * (mel - bent)))
