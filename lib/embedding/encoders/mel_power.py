"""Compute the mel power spectrograms of librosa for sound in blocks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np


def mel_power(
    blocks: Iterable[np.ndarray], rate: int, *, n_fft: int, hop: int, n_mels: int
) -> Iterator[np.ndarray]:
    """Yield frames : float32 (n, n_mels), equal to `librosa.feature.melspectrogram`.

    blocks : samples, float32 (n,) each; rate : Hz; n_fft, hop : samples; n_mels : Slaney bands
    """
    import librosa

    mel = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels).T
    window = librosa.filters.get_window("hann", n_fft).astype(np.float32)
    edge, rest = np.zeros(n_fft // 2, np.float32), np.zeros(0, np.float32)
    for block in itertools.chain([edge], blocks, [edge]):
        rest = np.concatenate([rest, block])
        if len(rest) < n_fft:
            continue
        framed = np.lib.stride_tricks.sliding_window_view(rest, n_fft)[::hop]
        spectrum = np.abs(np.fft.rfft(framed * window, axis=1)).astype(np.float32)
        yield spectrum**2 @ mel
        rest = rest[len(framed) * hop :]
