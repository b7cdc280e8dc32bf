"""Features equal librosa's; unusable recordings give their reason."""

import io
import os

import librosa
import numpy as np
import pytest
import soundfile

from lib.features import audio_decoding, log_mel
from lib.features.frame_packing import Packing


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


@pytest.mark.parametrize(("rate", "n_fft", "n_mels"), [
    (16000, 2048, 128), (22050, 2048, 96), (44100, 4096, 40), (8000, 512, 64), (1900, 256, 20),
])  # fmt: skip
def test_mel_filters_and_window_are_those_of_librosa_bit_for_bit(rate, n_fft, n_mels):
    expected = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels)
    np.testing.assert_array_equal(log_mel.mel_filters(rate, n_fft, n_mels), expected)
    for length in (n_fft // 2, 333):
        window = librosa.filters.get_window("hann", length)
        np.testing.assert_array_equal(log_mel.hann(length), window)


def frames_of(samples, features, size=None):
    """All frames of a signal, in one block or in blocks of `size` samples."""
    blocks = np.split(samples, range(size, len(samples), size)) if size else [samples]
    return np.concatenate(list(log_mel.log_mel_frames(blocks, features)))


@pytest.mark.parametrize("name", SIGNALS)
def test_log_mel_equals_librosa(name, features):
    t = np.arange(3 * 16000 + 123) / 16000
    samples = SIGNALS[name](t, np.random.default_rng(1)).astype(np.float32)
    found = frames_of(samples, features)
    assert found.dtype == np.float32
    assert found.shape == (1 + len(samples) // 512, 128)
    np.testing.assert_allclose(found, reference(samples, features), atol=1e-3)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3"])
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
def test_read_is_mono_at_16_khz_with_peak_one(tmp_path, suffix, rate):
    t = np.arange(2 * rate) / rate
    stereo = 0.2 * np.stack([np.sin(2 * np.pi * 300 * t), np.sin(2 * np.pi * 500 * t)], axis=1)
    path = tmp_path / f"声音{suffix}"
    soundfile.write(path, stereo, rate)
    samples = audio_decoding.read_audio(path, 16000)
    assert samples.ndim == 1 and samples.dtype == np.float32
    assert abs(len(samples) - 32000) <= (0 if suffix != ".mp3" else 3000)
    assert np.abs(samples).max() == pytest.approx(1)
    strongest = np.argsort(np.abs(np.fft.rfft(samples[:32000])))[-2:] / 2
    assert sorted(strongest.round(-1)) == [300, 500]
    assert audio_decoding.duration(path) == pytest.approx(2, abs=0.2)


def whole(path):
    """What librosa makes of a file: samples with their peak at 1, and log-mel frames."""
    samples, _ = librosa.load(path, sr=16000)
    return samples / np.abs(samples).max()


RATES = (8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000)
FORMATS = [
    *(("wav", f"PCM_{kind}") for kind in ("U8", "16", "24", "32")),
    *(("wav", "FLOAT"), ("wav", "DOUBLE"), ("flac", "PCM_16"), ("flac", "PCM_24")),
    *(("ogg", "VORBIS"), ("mp3", "MPEG_LAYER_III")),
]


@pytest.mark.parametrize(
    "suffix, subtype, rate",
    [(*f, r) for f in FORMATS for r in RATES if f[0] != "mp3" or r <= 48000],  # where mp3 ends
)
def test_every_format_and_rate_equals_librosa(tmp_path, features, suffix, subtype, rate):
    """A tone and a chirp over faint noise: loud bands beside nearly empty ones."""
    t = np.arange(int(2.7 * rate)) / rate
    rng = np.random.default_rng(rate)
    channels = 1 + (RATES.index(rate) + FORMATS.index((suffix, subtype))) % 8
    channels = min(channels, 2) if suffix == "mp3" else channels
    sound = 0.3 * np.sin(2 * np.pi * 440 * t) + 0.2 * np.sin(2 * np.pi * (50 * t + 300 * t**2))
    sound = sound[:, None] * rng.uniform(0.2, 1, channels) + 1e-5 * rng.normal(size=(t.size, 1))
    path = tmp_path / f"声音 Звук.{suffix}"
    soundfile.write(path, sound, rate, subtype=subtype)
    expected = whole(path)
    np.testing.assert_array_equal(audio_decoding.read_audio(path, 16000), expected)
    frames = audio_decoding.extract(path, features)
    wanted = reference(expected, features)
    assert frames.shape == wanted.shape and frames.dtype == np.float32
    packing = Packing.of(features)
    stored = packing.unpack(packing.pack(frames))
    np.testing.assert_allclose(frames, wanted, rtol=0, atol=5e-4)
    np.testing.assert_allclose(stored, wanted, rtol=0, atol=1e-3)


@pytest.mark.parametrize("channels", range(1, 9))
def test_channels_are_averaged_as_librosa_does(tmp_path, channels):
    rng = np.random.default_rng(channels)
    path = tmp_path / "x.wav"
    soundfile.write(path, rng.normal(0, 0.1, (70_001, channels)), 22050, subtype="FLOAT")
    np.testing.assert_array_equal(audio_decoding.read_audio(path, 16000), whole(path))


@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_long_recording_goes_through_a_file_with_the_same_result(
    tmp_path, features, rate, monkeypatch
):
    rng = np.random.default_rng(0)
    path = tmp_path / "x.wav"
    soundfile.write(path, rng.normal(0, 0.1, rate * 20), rate)
    in_memory = audio_decoding.extract(path, features)
    monkeypatch.setattr(audio_decoding, "SPOOL_BYTES", 1000)
    np.testing.assert_array_equal(audio_decoding.extract(path, features), in_memory)
    assert max(map(len, audio_decoding.stream(path, features))) <= log_mel.BATCH


@pytest.mark.parametrize("hop", [1, 512, 513, 1000, 1700])
def test_frames_are_the_same_in_blocks_of_any_size(features, hop):
    """Also where samples between two frames are in none."""
    samples = np.random.default_rng(1).uniform(-1, 1, 4001).astype(np.float32)
    features = features | {"n_fft": 512, "win_length": 512, "hop_length": hop}
    expected = frames_of(samples, features)
    assert len(expected) == 1 + len(samples) // hop
    for size in (100, 1500):
        np.testing.assert_allclose(frames_of(samples, features, size), expected, atol=1e-5)


@pytest.mark.parametrize("name", SIGNALS)
def test_what_float32_cannot_tell_is_told_by_float64(name, features, monkeypatch):
    t = np.arange(3 * 16000) / 16000
    samples = SIGNALS[name](t, np.random.default_rng(1)).astype(np.float32)
    exact = reference(samples, features)
    np.testing.assert_allclose(frames_of(samples, features), exact, rtol=0, atol=5e-4)
    if name == "tone":  # without the second look it would be wrong
        monkeypatch.setattr(log_mel, "FLOAT32_LEVEL", 0.0)
        assert np.abs(frames_of(samples, features) - exact).max() > 1e-2


def unusable(tmp_path):
    """Bad sound files by name."""
    t = np.arange(16000) / 16000
    sounds = {
        "silent": np.zeros(32000),
        "DC only": np.full(32000, 0.5),
        "short": np.sin(2 * np.pi * 440 * t)[:3200],
        "no samples": np.zeros(0),
    }
    for name, samples in sounds.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, 16000)
    soundfile.write(tmp_path / "DC at 44100.wav", np.full(88200, 0.5), 44100)
    noise = np.random.default_rng(0).normal(0, 0.1, (64000, 2)).astype(np.float32)
    for suffix, subtype in (("wav", "PCM_16"), ("flac", "PCM_16"), ("mp3", None), ("wav", "FLOAT")):
        path = tmp_path / f"cut {subtype}.{suffix}"
        soundfile.write(path, noise, 16000, subtype=subtype)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    for name, value in (("nan", np.nan), ("inf", np.inf), ("-inf", -np.inf)):
        bad = noise.copy()
        bad[40000, 1] = value
        soundfile.write(tmp_path / f"{name}.wav", bad, 16000, subtype="FLOAT")
        soundfile.write(tmp_path / f"{name} at 44100.wav", bad, 44100, subtype="FLOAT")
    soundfile.write(tmp_path / "huge.wav", noise.astype(float) * 1e39, 16000, subtype="DOUBLE")
    (tmp_path / "text.mp3").write_text("this is no sound")
    (tmp_path / "empty.mp3").write_bytes(b"")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "dangling.wav").symlink_to("nowhere.wav")
    return tmp_path


CUT = r"cut short: [12]\.\d s of the 4\.[0-2] s in its header can be decoded"
UNUSABLE = {
    "silent.wav": "silent",
    "DC only.wav": "silent",
    "DC at 44100.wav": "silent",
    "short.wav": "shorter than one window: 7 of 31 frames",
    "no samples.wav": "no samples",
    "cut PCM_16.wav": CUT,
    "cut FLOAT.wav": CUT,
    "cut None.mp3": CUT,
    "cut PCM_16.flac": CUT,
    "nan.wav": "not finite",
    "inf.wav": "not finite",
    "-inf.wav": "not finite",
    "nan at 44100.wav": "not finite",
    "inf at 44100.wav": "not finite",
    "huge.wav": "not finite",
    "text.mp3": r"cannot be decoded \(not a sound file, or damaged",
    "empty.mp3": "empty file",
    "folder.wav": "a folder",
    "dangling.wav": "a link to a file that is not there",
    "missing.wav": "no such file",
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_recordings_say_why(tmp_path, features, name):
    with pytest.raises(audio_decoding.UnusableRecording, match=UNUSABLE[name]):
        audio_decoding.extract(unusable(tmp_path) / name, features, max_cut=0.02)


@pytest.mark.parametrize("name", ["cut PCM_16.wav", "cut FLOAT.wav", "cut None.mp3"])
def test_what_is_left_of_a_cut_recording_can_be_accepted(tmp_path, features, name):
    path = unusable(tmp_path) / name
    frames = audio_decoding.extract(path, features, max_cut=1.0)
    np.testing.assert_allclose(frames, reference(whole(path), features), atol=5e-4)


def test_a_stream_that_promises_nothing_is_read_to_its_end(tmp_path, features):
    """Programs that write to a pipe leave the sizes in the header open."""
    path = tmp_path / "piped.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 32000), 16000)
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert len(audio_decoding.extract(path, features, max_cut=0.02)) == 63


def test_a_full_temporary_disk_is_no_fault_of_the_recording(tmp_path, features, monkeypatch):
    path = tmp_path / "x.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 32000), 16000)

    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        audio_decoding._decode(path, 16000, 1.0, Full())


def test_windows_fit_and_half_overlap():
    assert log_mel.window_starts(30, 31, 15).size == 0
    assert log_mel.window_starts(31, 31, 15).tolist() == [0]
    assert log_mel.window_starts(61, 31, 15).tolist() == [0, 15, 30]


def test_window_times(features):
    assert log_mel.window_seconds(np.array([0, 15]), features).tolist() == [0, 0.48]


def test_what_is_no_regular_file_is_not_waited_for(tmp_path, features):
    os.mkfifo(tmp_path / "fifo.flac")
    for look in (audio_decoding.duration, lambda path: audio_decoding.extract(path, features)):
        with pytest.raises(audio_decoding.UnusableRecording, match="not a regular file"):
            look(tmp_path / "fifo.flac")
    (tmp_path / "x.raw").write_bytes(bytes(64000))
    with pytest.raises(audio_decoding.UnusableRecording, match="cannot be decoded"):
        audio_decoding.extract(tmp_path / "x.raw", features)


@pytest.mark.parametrize("total", [0, 2**36 - 1])
def test_a_flac_that_does_not_know_its_length_is_read_to_its_end(tmp_path, features, total):
    path = tmp_path / "x.flac"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 32000), 16000)
    content = bytearray(path.read_bytes())
    content[21] = content[21] & 0xF0 | total >> 32
    content[22:26] = (total & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(content)
    assert audio_decoding.duration(path) == pytest.approx(2, abs=0.1)
    if total == 0:
        assert len(audio_decoding.extract(path, features, max_cut=0.02)) == 63
