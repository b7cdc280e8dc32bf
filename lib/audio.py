"""Sound files to log-mel frames, and frames to windows.

Conventions (ICASSP 2021 sec. 3.1, constants as in the released system): 16 kHz mono, divided by
its peak; magnitude STFT with a 1024-sample Hann window centred in an FFT of 2048, hop 512; 128
Slaney mel bands; natural logarithm of (mel + float32 epsilon). A window is 31 consecutive frames
(about 1 s), its hop 15 frames. Frames are stored time-major: frames : float32 (n, 128).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

LOG_FLOOR = float(np.finfo(np.float32).eps)  # keeps the logarithm finite; as in the original


class UnusableRecording(Exception):
    """A recording that cannot become a window; the message is the reason."""


def duration(path: str | Path) -> float:
    """Length of a sound file in seconds, from its header.

    Raises UnusableRecording when the file is missing or no sound file.
    """
    import soundfile

    try:
        info = soundfile.info(str(path))
    except (soundfile.SoundFileError, OSError, UnicodeError) as error:
        raise UnusableRecording(_reason(path, error)) from error
    return info.frames / info.samplerate


def read_audio(path: str | Path, sample_rate: int) -> np.ndarray:
    """Decode a sound file to mono at `sample_rate`, divided by its peak.

    Returns samples : float32 (n,), in [-1, 1]. Raises UnusableRecording when the file cannot be
    decoded, is empty, silent, or holds samples that are not finite.
    """
    import librosa
    import soundfile

    try:
        samples, found = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, UnicodeError) as error:
        raise UnusableRecording(_reason(path, error)) from error
    if len(samples) == 0:
        raise UnusableRecording("holds no samples")
    mono = samples.mean(axis=1)
    if not np.isfinite(mono).all():
        raise UnusableRecording("holds samples that are not finite numbers")
    if found != sample_rate:
        mono = librosa.resample(mono, orig_sr=found, target_sr=sample_rate)
    peak = np.abs(mono).max()
    if not np.isfinite(peak):
        raise UnusableRecording("holds samples too large for float32")
    if np.ptp(mono) < 1e-4:  # below one step of 14 bits, our choice: digital silence or pure DC
        raise UnusableRecording("silent")
    return mono / peak


def write_audio(path: str | Path, samples: np.ndarray, sample_rate: int) -> None:
    """Write samples : float (n,), in [-1, 1]; the format follows the suffix (wav: 16 bit)."""
    import soundfile

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
    import librosa

    magnitude = np.abs(
        librosa.stft(
            samples,
            n_fft=features["n_fft"],
            win_length=features["win_length"],
            hop_length=features["hop_length"],
            window="hann",
            center=True,
        )
    )
    bank = _mel_bank(features["sample_rate"], features["n_fft"], features["n_mels"])
    return np.log(magnitude.T @ bank + np.float32(LOG_FLOOR))


def extract(path: str | Path, features: Mapping) -> np.ndarray:
    """Log-mel frames : float32 (n, n_mels) of a sound file of at least one window.

    Raises UnusableRecording with the reason otherwise.
    """
    frames = log_mel(read_audio(path, features["sample_rate"]), features)
    if len(frames) < features["window_frames"]:
        raise UnusableRecording(
            f"shorter than one window: {len(frames)} of {features['window_frames']} frames"
        )
    return frames


def window_starts(n_frames: int, length: int, hop: int) -> np.ndarray:
    """First frame of each window that fits : int64 (n_windows,)."""
    return np.arange(0, n_frames - length + 1, hop)


def window_seconds(start_frame: np.ndarray, features: Mapping) -> np.ndarray:
    """Time of a window's first frame in seconds from the start of the recording."""
    return start_frame * features["hop_length"] / features["sample_rate"]


@lru_cache(maxsize=4)
def _mel_bank(sample_rate: int, n_fft: int, n_mels: int) -> np.ndarray:
    import librosa

    bank = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels)
    return np.ascontiguousarray(bank.T, dtype=np.float32)


def _reason(path: str | Path, error: Exception) -> str:
    path = Path(path)
    if path.is_dir():
        return "is a folder, not a sound file"
    if not path.exists():
        return "no such file"
    if path.stat().st_size == 0:
        return "empty file"
    return f"cannot be decoded ({getattr(error, 'error_string', error)})"
