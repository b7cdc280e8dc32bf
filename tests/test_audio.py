"""Features equal librosa's; unusable recordings give their reason."""

import librosa
import numpy as np
import pytest

from lib import audio


def reference(samples, features):
    """Log-mel by librosa's own mel spectrogram; frames : (n, 128)."""
    mel = librosa.feature.melspectrogram(
        y=samples,
        sr=features["sample_rate"],
        n_fft=features["n_fft"],
        win_length=features["win_length"],
        hop_length=features["hop_length"],
        power=1.0,
        n_mels=features["n_mels"],
    )
    return np.log(mel + np.finfo(np.float32).eps).T


SIGNALS = {
    "noise": lambda t, rng: rng.normal(0, 0.3, t.size),
    "tone": lambda t, rng: np.sin(2 * np.pi * 440 * t),
    "chirp": lambda t, rng: np.sin(2 * np.pi * (100 * t + 900 * t**2)),
    "clicks": lambda t, rng: (np.arange(t.size) % 4000 == 0).astype(float),
    "nearly silent": lambda t, rng: 1e-6 * rng.normal(0, 1, t.size),
}


@pytest.mark.parametrize("name", SIGNALS)
def test_log_mel_equals_librosa(name, features):
    t = np.arange(3 * 16000 + 123) / 16000
    samples = SIGNALS[name](t, np.random.default_rng(1)).astype(np.float32)
    found = audio.log_mel(samples, features)
    assert found.dtype == np.float32
    assert found.shape == (1 + len(samples) // 512, 128)
    np.testing.assert_allclose(found, reference(samples, features), atol=1e-3)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3"])
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
def test_read_is_mono_at_16_khz_with_peak_one(tmp_path, suffix, rate):
    t = np.arange(2 * rate) / rate
    stereo = 0.2 * np.stack([np.sin(2 * np.pi * 300 * t), np.sin(2 * np.pi * 500 * t)], axis=1)
    path = tmp_path / f"声音{suffix}"
    audio.write_audio(path, stereo, rate)
    samples = audio.read_audio(path, 16000)
    assert samples.ndim == 1 and samples.dtype == np.float32
    assert abs(len(samples) - 32000) <= (0 if suffix != ".mp3" else 3000)
    assert np.abs(samples).max() == pytest.approx(1)
    strongest = np.argsort(np.abs(np.fft.rfft(samples[:32000])))[-2:] / 2
    assert sorted(strongest.round(-1)) == [300, 500]
    assert audio.duration(path) == pytest.approx(2, abs=0.2)


def unusable(tmp_path):
    t = np.arange(16000) / 16000
    sounds = {
        "silent": np.zeros(32000),
        "DC only": np.full(32000, 0.5),
        "short": np.sin(2 * np.pi * 440 * t)[:3200],
        "no samples": np.zeros(0),
    }
    for name, samples in sounds.items():
        audio.write_audio(tmp_path / f"{name}.wav", samples, 16000)
    (tmp_path / "text.mp3").write_text("this is no sound")
    (tmp_path / "empty.mp3").write_bytes(b"")
    (tmp_path / "folder.wav").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "name, reason",
    [
        ("silent.wav", "silent"),
        ("DC only.wav", "silent"),
        ("short.wav", "shorter than one window: 7 of 31 frames"),
        ("no samples.wav", "no samples"),
        ("text.mp3", "cannot be decoded"),
        ("empty.mp3", "empty file"),
        ("folder.wav", "a folder"),
        ("missing.wav", "no such file"),
    ],
)
def test_unusable_recordings_say_why(tmp_path, features, name, reason):
    with pytest.raises(audio.UnusableRecording, match=reason):
        audio.extract(unusable(tmp_path) / name, features)


def test_samples_that_are_not_finite_are_refused(tmp_path, features):
    import soundfile

    samples = np.full(32000, np.nan, np.float32)
    soundfile.write(tmp_path / "nan.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(audio.UnusableRecording, match="not finite"):
        audio.extract(tmp_path / "nan.wav", features)


def test_windows_fit_and_half_overlap():
    assert audio.window_starts(30, 31, 15).size == 0
    assert audio.window_starts(31, 31, 15).tolist() == [0]
    assert audio.window_starts(61, 31, 15).tolist() == [0, 15, 30]


def test_window_times(features):
    assert audio.window_seconds(np.array([0, 15]), features).tolist() == [0, 0.48]
