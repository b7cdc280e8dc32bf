"""The synthetic corpora: reproducible, laid out as the real ones, with the cues that they claim."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng
from scipy import signal

import make_demo_data
from lib.corpora.synthetic import music, speech

RATE = 16_000
SMALL = ["--speech-minutes", "0.3", "--clips-per-quadrant", "2", "--clip-seconds", "2"]
QUADRANTS = {"Q1": (0.7, 0.7), "Q2": (0.7, -0.7), "Q3": (-0.7, -0.7), "Q4": (-0.7, 0.7)}


def make(out: Path, *more: str) -> int:
    return make_demo_data.main(["--out", str(out), *SMALL, *more])


def contents(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "data"
    assert make(out) == 0
    return out


@pytest.fixture(scope="module", params=music.STYLES)
def clips(request) -> dict[str, list[np.ndarray]]:
    """Eight clips of 4 s per quadrant in one style."""
    style = music.STYLES[request.param]
    return {
        name: [music.Clip(style, *point, 4.0, default_rng([5, i])).sound() for i in range(8)]
        for name, point in QUADRANTS.items()
    }


@pytest.mark.slow
def test_same_seed_same_files_and_another_seed_others(demo, tmp_path):
    assert make(tmp_path / "again") == 0
    assert contents(tmp_path / "again") == contents(demo)
    assert make(tmp_path / "other", "--seed", "1") == 0
    first = {data for name, data in contents(demo).items() if name.endswith(("flac", "wav", "mp3"))}
    assert first.isdisjoint(contents(tmp_path / "other").values())


def test_speech_is_laid_out_as_librispeech_and_aishell(demo):
    import soundfile

    patterns = {
        "*.flac": r"speech/LibriSpeech/train-clean-100/(\d+)/(\d+)/\1-\2-\d{4}\.flac",
        "*.wav": r"speech/data_aishell/wav/train/(S\d{4})/BAC009\1W\d{4}\.wav",
    }
    for glob, pattern in patterns.items():
        paths = sorted(demo.rglob(glob))
        names = [path.relative_to(demo).as_posix() for path in paths]
        assert names and all(re.fullmatch(pattern, name) for name in names), names
        found = [soundfile.info(str(path)) for path in paths]
        assert {(i.samplerate, i.channels) for i in found} == {(RATE, 1)}
        assert all(5.9 < i.duration < 12.1 for i in found)
        assert sum(i.duration for i in found) == pytest.approx(0.3 * 60, abs=0.1)


def test_music_is_laid_out_as_4q_emotion(demo):
    folder = demo / "MER_audio_taffc_dataset"
    songs = rows(folder / "panda_dataset_taffc_annotations.csv")
    assert list(songs[0]) == ["Song", "Quadrant"]
    named = {f"{row['Quadrant']}/{row['Song']}.mp3" for row in songs}
    assert named == {path.relative_to(folder).as_posix() for path in folder.rglob("*.mp3")}
    assert all(re.fullmatch(r"Q[1-4]/MT\d{10}\.mp3", name) for name in named) and len(named) == 8
    metadata = rows(folder / "panda_dataset_taffc_metadata.csv")
    assert {"Song", "Artist", "Title", "Quadrant", "GenresStr"} <= set(metadata[0])
    assert [(r["Song"], r["Quadrant"]) for r in metadata] == [tuple(r.values()) for r in songs]
    assert 1 < len({row["Artist"] for row in metadata}) < len(metadata)


def test_ratings_give_two_songs_per_quadrant_by_their_means(demo):
    folder = demo / "CH818/ch818_mp3"
    table = rows(folder / "annotations.csv")
    assert list(table[0]) == ["song", "annotator", "arousal", "valence"]
    ratings = defaultdict(list)
    for row in table:
        ratings[row["song"]].append((float(row["arousal"]), float(row["valence"])))
    assert set(ratings) == {path.stem for path in folder.glob("P[0-9][0-9][0-9][0-9].mp3")}
    assert all(len(r) == 3 and np.abs(r).max() <= 10 for r in ratings.values())
    signs = [tuple(np.sign(np.mean(r, axis=0))) for r in ratings.values()]
    assert sorted(signs) == sorted([(a, v) for a in (-1, 1) for v in (-1, 1)] * 2)


def test_ratings_fit_the_sound(demo):
    import soundfile

    level = defaultdict(list)
    for row in rows(demo / "CH818/ch818_mp3/annotations.csv"):
        samples, _ = soundfile.read(str(demo / f"CH818/ch818_mp3/{row['song']}.mp3"))
        level[float(row["arousal"]) > 0].append(samples.std())
    assert np.mean(level[True]) > 1.5 * np.mean(level[False])


def test_the_corpora_are_read_by_the_suite(demo):
    from lib.corpora.catalogue import read_corpus

    for kind in ("speech", "music"):
        for language in ("english", "mandarin"):
            table = read_corpus(kind, language, demo)
            assert len(table) == (2 if kind == "speech" else 8)


@pytest.mark.slow
def test_arousal_is_heard_in_onsets_level_and_spectrum(clips):
    measures = {"onsets": onsets_per_second, "level": np.std, "centroid": centroid}
    for name, measure in measures.items():
        q1, q2, q3, q4 = (np.mean([measure(x) for x in clips[q]]) for q in sorted(clips))
        assert min(q1, q2) > 1.1 * max(q3, q4), (name, q1, q2, q3, q4)


def test_valence_is_heard_in_mode_register_and_dynamics(clips):
    mode = {q: np.mean([major_minus_minor(x) for x in clips[q]]) for q in clips}
    assert mode["Q1"] > mode["Q2"] + 0.05 and mode["Q4"] > mode["Q3"] + 0.05, mode
    low = {q: np.mean([share_below(x, 250) for x in clips[q]]) for q in clips}
    assert low["Q2"] > 1.1 * low["Q1"] and low["Q3"] > 1.1 * low["Q4"], low
    crest = {q: np.mean([np.abs(x).max() / x.std() for x in clips[q]]) for q in clips}
    assert 1.1 * crest["Q2"] < min(crest["Q1"], crest["Q3"], crest["Q4"]), crest


@pytest.mark.parametrize("phrase", [speech.english_phrase, speech.mandarin_phrase])
def test_speech_has_pauses_and_harmonics(phrase):
    voice = speech.Voice(pitch=120.0, tract=1.0, floor=-60.0)
    samples = speech.utterance(phrase, 8.0, voice, default_rng(2))
    assert samples.dtype == np.float32 and 0.4 < np.abs(samples).max() <= 0.9
    level = 20 * np.log10(samples[: len(samples) // 400 * 400].reshape(-1, 400).std(axis=1))
    assert 0.08 < np.mean(level < level.max() - 45) < 0.5  # pauses
    pitch = [f0 for f0 in f0_track(samples, 60, 320) if np.isfinite(f0)]
    assert len(pitch) > 200 and 90 < np.median(pitch) < 150


def test_english_pitch_falls_and_stress_alternates():
    voice = speech.Voice(pitch=120.0, tract=1.0, floor=-60.0)
    falls = []
    for seed in range(6):
        phrase = speech.english_phrase(default_rng(seed))
        track = f0_track(speech.render(phrase, voice, default_rng(seed)), 60, 320)
        track = track[np.isfinite(track)]
        third = len(track) // 3
        falls.append(12 * np.log2(np.median(track[:third]) / np.median(track[-third:])))
    assert np.mean(falls) > 2  # semitones
    assert len({p.voiced for p in phrase if p.pitch}) == 2  # strong and weak nuclei


@pytest.mark.parametrize(
    ("tone", "moves"),
    [(1, lambda c: np.ptp(c) < 3 and c.mean() > 3), (2, lambda c: c[-1] - c[0] > 3),
     (3, lambda c: c[0] - c[1] > 1 and c[2] - c[1] > 2), (4, lambda c: c[0] - c[2] > 5)],
)  # fmt: skip
def test_each_mandarin_tone_moves_the_pitch_its_way(tone, moves):
    """c : the pitch of a syllable at its start, middle and end, in semitones from the voice's."""
    voice = speech.Voice(pitch=200.0, tract=1.16, floor=-65.0)
    contours = []
    for seed in range(8):
        phones = speech.mandarin_phrase(default_rng(seed), (tone,))
        rest = speech.Phone(0.1, phones[0].start, phones[0].start)
        samples = speech.render([rest, *phones, rest], voice, default_rng(seed))
        track = f0_track(samples, 90, 450)
        track = 12 * np.log2(track[np.isfinite(track)] / voice.pitch)
        contours.append([np.median(part) for part in np.array_split(track, 5)])
    contour = np.median(contours, axis=0)[[0, 2, 4]]
    assert moves(contour), contour


def test_a_complete_demo_is_left_as_it_is(demo, capsys):
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*")}
    assert make(demo) == 0
    assert "left as it is" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in demo.rglob("*")} == before


def test_other_arguments_are_refused_until_overwrite(tmp_path, capsys):
    out = tmp_path / "data"
    assert make(out) == 0
    before = contents(out)
    assert make(out, "--seed", "3") == 2
    message = capsys.readouterr().err
    assert str(out) in message and "--overwrite" in message and message.count("\n") == 1
    assert contents(out) == before
    assert make(out, "--seed", "3", "--overwrite") == 0
    assert contents(out).keys() != before.keys()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]  # nothing left beside


def test_a_file_in_the_way_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert make(tmp_path / "file" / "data") == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_a_folder_that_is_no_demo_is_never_touched(tmp_path, capsys, overwrite):
    (tmp_path / "mine.txt").write_text("mine")
    assert make(tmp_path, *overwrite) == 2
    message = capsys.readouterr().err
    assert str(tmp_path) in message and "--overwrite" in message
    assert contents(tmp_path) == {"mine.txt": b"mine"}


@pytest.mark.slow
def test_overwrite_spares_files_of_others_and_a_lost_file_is_noticed(tmp_path, capsys):
    out = tmp_path / "data"
    assert make(out) == 0
    next(out.rglob("*.wav")).unlink()
    assert make(out) == 2
    assert "missing" in capsys.readouterr().err
    (out / "notes.txt").write_text("mine")
    assert make(out, "--overwrite") == 2
    assert "notes.txt" in capsys.readouterr().err and (out / "notes.txt").exists()
    (out / "notes.txt").unlink()
    assert make(out, "--overwrite") == 0
    assert list(out.rglob("*.wav"))


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("lib.corpora.synthetic.corpora._chinese", lambda root, sizes: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make(tmp_path / "data")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flags", [["--clip-seconds", "0"], ["--speech-minutes", "nan"]])
def test_impossible_sizes_are_refused(tmp_path, capsys, flags):
    assert make(tmp_path / "data", *flags) == 2
    assert flags[0] in capsys.readouterr().err


def test_help_imports_nothing_heavy():
    script = "import sys, make_demo_data; sys.exit(bool({'numpy', 'scipy'} & set(sys.modules)))"
    root = Path(make_demo_data.__file__).parent
    assert subprocess.run([sys.executable, "-c", script], cwd=root).returncode == 0


def onsets_per_second(samples: np.ndarray) -> float:
    """Peaks of the half-wave rectified difference of log-magnitude spectra."""
    spectrum = np.abs(signal.stft(samples, RATE, nperseg=512, noverlap=256)[2])
    rise = np.maximum(np.diff(np.log(spectrum + 1e-3)), 0).mean(axis=0)
    return len(signal.find_peaks(rise, height=0.15, distance=4)[0]) / (len(samples) / RATE)


def centroid(samples: np.ndarray) -> float:
    """Centre of the magnitude spectrum in Hz."""
    magnitude = np.abs(np.fft.rfft(samples))
    return float(magnitude @ np.fft.rfftfreq(len(samples), 1 / RATE) / magnitude.sum())


def share_below(samples: np.ndarray, hz: float) -> float:
    power = np.abs(np.fft.rfft(samples)) ** 2
    return float(power[np.fft.rfftfreq(len(samples), 1 / RATE) < hz].sum() / power.sum())


def major_minus_minor(samples: np.ndarray) -> float:
    """Best fit of a major triad to the chroma of 0.5 s less that of a minor one, on average."""
    hz = np.fft.rfftfreq(RATE, 1 / RATE)
    inside = (hz > 80) & (hz < 700)
    pitch_class = np.round(12 * np.log2(hz[inside] / 440) + 69).astype(int) % 12

    def best(triad: list[int], chroma: np.ndarray) -> float:
        template = np.isin(np.arange(12), triad)
        return max(np.corrcoef(np.roll(template, key), chroma)[0, 1] for key in range(12))

    leads = []
    for part in np.split(samples, len(samples) // (RATE // 2)):
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), RATE))[inside]
        chroma = np.bincount(pitch_class, spectrum, 12)
        leads.append(best([0, 4, 7], chroma) - best([0, 3, 7], chroma))
    return float(np.mean(leads))


def f0_track(samples: np.ndarray, lowest: float, highest: float) -> np.ndarray:
    """Pitch in Hz per 10 ms by autocorrelation of 40 ms, NaN where it is below 0.5 or faint."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 640)[::160] * np.hanning(640)
    power = np.abs(np.fft.rfft(frames, 2048)) ** 2
    similar = np.fft.irfft(power)[:, :400]
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(640), 2048)) ** 2)[:400]
    similar = similar / window * window[0]
    lags = slice(int(RATE / highest), min(int(RATE / lowest), 400))
    lag = similar[:, lags].argmax(axis=1) + lags.start
    best, energy = similar[np.arange(len(lag)), lag], similar[:, 0]
    return np.where((best > 0.5 * energy) & (energy > 0.01 * energy.max()), RATE / lag, np.nan)
