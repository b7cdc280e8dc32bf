"""Compute the mel power spectrograms of librosa for sound in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from lib.features.log_mel import frames_of_samples, hann, mel_filters


def mel_power(
    blocks: Iterable[np.ndarray], rate: int, *, n_fft: int, hop: int, n_mels: int
) -> Iterator[np.ndarray]:
    """Yield frames : float32 (n, n_mels), equal to `librosa.feature.melspectrogram`.

    blocks : samples, float32 (n,) each; rate : Hz; n_fft, hop : samples; n_mels : Slaney bands
    """
    mel = mel_filters(sample_rate=rate, n_fft=n_fft, n_mels=n_mels).T
    window = hann(n_fft).astype(np.float32)
    for framed in frames_of_samples(blocks, n_fft, hop):
        spectrum = np.abs(np.fft.rfft(framed * window, axis=1)).astype(np.float32)
        yield spectrum**2 @ mel
