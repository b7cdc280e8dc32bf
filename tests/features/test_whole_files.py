"""All of a sound file is decoded, whatever its header says; what is missing is told."""

import av
import numpy as np
import pytest
import soundfile

from lib.features import audio_decoding, ffmpeg_decoding

RATE = 16000


def noise(seconds, seed=0, level=0.1):
    return np.random.default_rng(seed).normal(0, level, int(seconds * RATE)).astype(np.float32)


def mp3(path, samples, rate=RATE):
    """An MP3 of a constant bit rate, as its frames alone: without a header of its length."""
    soundfile.write(path, samples, rate, format="MP3", bitrate_mode="CONSTANT")
    with av.open(str(path)) as container:
        frames = b"".join(bytes(packet) for packet in container.demux(audio=0))
    path.write_bytes(frames)
    return frames


def seconds_of(path):
    """Seconds decoded and promised."""
    with audio_decoding.decoded(path, RATE) as sound:
        assert sum(map(len, sound.blocks())) == sound.samples
        return sound.seconds, sound.promised


def test_an_mp3_without_a_length_is_read_whole(tmp_path):
    """libsndfile estimates the length from the first bit rate: too long, and too short."""
    path, quiet = tmp_path / "x.mp3", noise(3, level=1e-5)
    for first, then in ((noise(3), quiet), (quiet, noise(3))):
        parts = []
        for samples, level in ((first, 0.0), (then, 0.9)):
            soundfile.write(
                path, samples, RATE, format="MP3", bitrate_mode="CONSTANT", compression_level=level
            )
            with av.open(str(path)) as container:
                parts += [bytes(packet) for packet in container.demux(audio=0)]
        for content in (b"".join(parts), b"".join(reversed(parts))):
            path.write_bytes(content)
            assert seconds_of(path)[0] == pytest.approx(6, abs=0.4)
            assert seconds_of(path)[0] == seconds_of(path)[1]
            assert audio_decoding.duration(path) == pytest.approx(6, abs=0.4)
            audio_decoding.read_audio(path, RATE, max_cut=0.02)  # an estimate is no promise


def test_joined_files_are_read_to_the_end(tmp_path):
    for suffix, subtype in ((".mp3", None), (".ogg", "VORBIS"), (".ogg", "OPUS")):
        path = tmp_path / f"x{suffix}"
        content = b""
        for seed in (1, 2):
            soundfile.write(path, noise(2, seed), RATE, subtype=subtype)
            content += path.read_bytes()
        path.write_bytes(content)
        seconds, promised = seconds_of(path)
        assert seconds == pytest.approx(4, abs=0.3) and promised == seconds, (suffix, subtype)


@pytest.mark.parametrize("rate, channels", [(32000, 1), (16000, 2), (44100, 2)])
def test_rate_and_channels_may_change_within_a_file(tmp_path, rate, channels):
    first = mp3(tmp_path / "a.mp3", noise(2, 1))
    second = mp3(tmp_path / "b.mp3", np.stack([noise(4, 2)] * channels, axis=1)[: 2 * rate], rate)
    (tmp_path / "x.mp3").write_bytes(first + second)
    length = 2 + min(4 * RATE, 2 * rate) / rate
    assert seconds_of(tmp_path / "x.mp3")[0] == pytest.approx(length, abs=0.3)


@pytest.mark.parametrize(
    "size", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFF000, 0xFFFFFFDB, 0xFFFFFFFF]
)
def test_sizes_that_were_never_filled_in_promise_nothing(tmp_path, size):
    path = tmp_path / "x.wav"
    soundfile.write(path, noise(2), RATE)
    content = bytearray(path.read_bytes())
    content[40:44] = size.to_bytes(4, "little")
    path.write_bytes(content)
    assert seconds_of(path) == (2, 2) and audio_decoding.duration(path) == pytest.approx(2)
    audio_decoding.read_audio(path, RATE, max_cut=0.02)


@pytest.mark.parametrize("name, about", [("x.aiff", 22), ("x.au", 8)])
def test_other_headers_of_streams_promise_nothing_either(tmp_path, name, about):
    path = tmp_path / name
    soundfile.write(path, noise(2), RATE)
    content = bytearray(path.read_bytes())
    content[about : about + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert audio_decoding.read_audio(path, RATE, max_cut=0.02).size == 2 * RATE


@pytest.mark.parametrize("tail", [b"TAG" + bytes(125), b"APETAGEX" + bytes(300), b"\xff" * 5000])
def test_what_stands_behind_a_flac_file_is_no_sound(tmp_path, tail):
    path = tmp_path / "x.flac"
    soundfile.write(path, noise(2), RATE)
    expected = audio_decoding.read_audio(path, RATE)
    path.write_bytes(path.read_bytes() + tail)
    np.testing.assert_array_equal(audio_decoding.read_audio(path, RATE, max_cut=0), expected)


def test_a_flac_file_damaged_in_the_middle_is_told(tmp_path):
    path = tmp_path / "x.flac"
    soundfile.write(path, noise(6), RATE)
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    path.write_bytes(content)
    with pytest.raises(
        audio_decoding.UnusableRecording, match=r"cut short: [45]\.\d s of the 6.0 s"
    ):
        audio_decoding.read_audio(path, RATE, max_cut=0.02)
    assert seconds_of(path)[1] == pytest.approx(6)


@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".flac", ".aiff", ".au", ".w64"])
def test_what_is_cut_off_is_told(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    soundfile.write(path, noise(6), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    seconds, promised = seconds_of(path)
    assert seconds == pytest.approx(3, abs=0.3) and promised == pytest.approx(6, abs=0.1)


def test_channels_that_cancel_out_are_not_silent(tmp_path):
    path, left = tmp_path / "x.wav", noise(2)
    soundfile.write(path, np.stack([left, -left], axis=1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(
        audio_decoding.read_audio(path, RATE), left / np.abs(left).max(), rtol=1e-6
    )
    soundfile.write(path, np.stack([left, 0.5 * left], axis=1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(
        audio_decoding.read_audio(path, RATE), left / np.abs(left).max(), rtol=1e-6
    )


def test_the_companions_that_macos_leaves_do_no_harm(tmp_path):
    path = tmp_path / "x.mp3"
    soundfile.write(path, noise(2), RATE)
    expected = audio_decoding.read_audio(path, RATE)
    (tmp_path / "._x.mp3").write_bytes(b"\0\x05\x16\x07\0\x02\0\0Mac OS X" + bytes(4000))
    np.testing.assert_array_equal(audio_decoding.read_audio(path, RATE), expected)


@pytest.mark.parametrize("name", ["caf\udce9.wav", "l" * 251 + ".wav", "歌.wav"])
def test_any_name_can_be_read(tmp_path, name):
    soundfile.write(tmp_path / "x.wav", noise(2), RATE)
    (tmp_path / "x.wav").rename(tmp_path / name)
    assert seconds_of(tmp_path / name) == (2, 2) and audio_decoding.duration(tmp_path / name) == 2


def test_ffmpeg_reads_what_libsndfile_does_not(tmp_path):
    path, samples = tmp_path / "x.m4a", noise(2)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    assert seconds_of(path)[0] == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_ffmpeg_gives_the_samples_that_libsndfile_gives(tmp_path, subtype):
    path = tmp_path / "x.wav"
    soundfile.write(path, np.stack([noise(1), noise(1, 1)], axis=1), RATE, subtype=subtype)
    found = np.concatenate([samples for _, samples in ffmpeg_decoding.Pieces(path)])
    np.testing.assert_allclose(found, soundfile.read(path, dtype="float32")[0], atol=1e-7)


def test_a_playlist_reaches_no_other_file(tmp_path):
    soundfile.write(tmp_path / "other.wav", noise(2), RATE)
    lists = {
        "x.m3u8": f"#EXTM3U\n#EXTINF:10,\nfile://{tmp_path}/other.wav\n#EXT-X-ENDLIST\n",
        "y.mp3": f"ffconcat version 1.0\nfile {tmp_path}/other.wav\n",
    }
    for name, content in lists.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(audio_decoding.UnusableRecording, match="not a sound file|decoded"):
            audio_decoding.read_audio(tmp_path / name, RATE)
