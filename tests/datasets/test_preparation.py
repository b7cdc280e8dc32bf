"""The data set stage through its script: what it writes, skips and refuses."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from unittest.mock import patch

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import ROOT

import generate_dataset
from lib.datasets import preparation_report

MUSIC = ["-d", "m", "-l", "e"]


@pytest.fixture
def corpus(paths, demo):
    shutil.copytree(demo / "MER_audio_taffc_dataset", paths.data / "MER_audio_taffc_dataset")
    return paths


def folder(paths):
    return paths.data / "features" / "music" / "english"


def songs(paths):
    return sorted((paths.data / "MER_audio_taffc_dataset").glob("Q*/*.mp3"))


def content(path):
    """Everything in an HDF5 file as a dict."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: found.update({name: item[()]}) if hasattr(item, "shape") else None
        )
        return found | dict(file.attrs)


@pytest.mark.slow
def test_a_data_set_is_complete_and_reproducible(corpus, tmp_path, capsys):
    assert generate_dataset.main(MUSIC) == 0
    written = folder(corpus)
    assert sorted(p.name for p in written.iterdir()) == [
        "dataset.json",
        "skipped.csv",
        "sources.csv",
        "split.csv",
        "test_dataset.h5",
        "train_dataset.h5",
        "val_dataset.h5",
    ]
    split = pd.read_csv(written / "split.csv")
    assert len(split) == len(songs(corpus)) == 32 and split["recording"].is_unique
    assert "32 recordings written, 0 skipped" in capsys.readouterr().out
    again = tmp_path / "again"
    (corpus.data / "demo.json").write_text("{}")  # now it counts as the sound of make_demo_data.py
    assert generate_dataset.main([*MUSIC, "-ps", str(again), "--set", "dataset.workers=1"]) == 0
    real, demo = (json.loads((path / "dataset.json").read_text()) for path in (written, again))
    assert demo == real | {"synthetic": True} and "synthetic" not in real
    for name in ("train_dataset.h5", "val_dataset.h5", "test_dataset.h5"):
        a, b = content(written / name), content(again / name)
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])


def test_what_stands_there_is_kept_refused_or_replaced(corpus, capsys):
    assert generate_dataset.main(MUSIC) == 0
    before = (folder(corpus) / "train_dataset.h5").stat().st_mtime_ns
    assert generate_dataset.main(MUSIC) == 0
    assert "is finished already" in capsys.readouterr().out
    assert generate_dataset.main([*MUSIC, "--seed", "1"]) == 2
    assert "seed: 0 instead of 1" in capsys.readouterr().err
    assert (folder(corpus) / "train_dataset.h5").stat().st_mtime_ns == before
    assert generate_dataset.main([*MUSIC, "--seed", "1", "--overwrite"]) == 0
    assert (folder(corpus) / "train_dataset.h5").stat().st_mtime_ns != before


def test_a_lost_split_is_made_again(corpus, capsys):
    assert generate_dataset.main(MUSIC) == 0
    (folder(corpus) / "val_dataset.h5").unlink()
    assert generate_dataset.main(MUSIC) == 0
    assert "lacks val_dataset.h5 and is made again" in capsys.readouterr().out
    assert (folder(corpus) / "val_dataset.h5").is_file()


def test_changed_labels_are_noticed(corpus, capsys):
    assert generate_dataset.main(MUSIC) == 0
    table = corpus.data / "MER_audio_taffc_dataset" / "panda_dataset_taffc_annotations.csv"
    table.write_text(table.read_text().replace("Q1", "Q4", 1))
    assert generate_dataset.main(MUSIC) == 2
    said = capsys.readouterr().err
    assert re.search(r"recordings: 1 relabelled \(Q1/\S+\)\): use", said)


def test_a_data_set_that_lost_its_record_is_made_again_when_asked_for(corpus, capsys):
    """As a workflow engine leaves it, which removes what it is about to make."""
    assert generate_dataset.main(MUSIC) == 0
    folder = corpus.data / "features/music/english"
    before = (folder / "dataset.json").read_text()
    (folder / "notes.txt").write_text("mine")
    (folder / "dataset.json").unlink()
    assert generate_dataset.main(MUSIC) == 2
    assert "not a data set of this suite" in capsys.readouterr().err
    assert generate_dataset.main([*MUSIC, "--overwrite"]) == 0
    assert json.loads((folder / "dataset.json").read_text())["files"] == json.loads(before)["files"]
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_folder_of_other_things_is_never_replaced(corpus, tmp_path, capsys):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    assert generate_dataset.main([*MUSIC, "-ps", str(mine), "--overwrite"]) == 2
    assert "not a data set of this suite" in capsys.readouterr().err
    assert (mine / "thesis.tex").read_text() == "years of work"


def test_unusable_recordings_are_listed_and_too_many_refused(corpus, capsys):
    bad = songs(corpus)[:2]
    bad[0].write_text("no sound")
    soundfile.write(bad[1], np.zeros(48000), 16000)
    assert generate_dataset.main(MUSIC) == 2
    assert "2 of 32 recordings cannot be used, more than 5%" in capsys.readouterr().err
    assert not folder(corpus).exists()
    listing = pd.read_csv(folder(corpus).parent / "english.skipped.csv")
    assert sorted(listing["recording"]) == sorted(f"{p.parent.name}/{p.stem}" for p in bad)
    assert generate_dataset.main([*MUSIC, "--allow-skips"]) == 0
    assert "30 recordings written, 2 skipped" in capsys.readouterr().out
    skipped = pd.read_csv(folder(corpus) / "skipped.csv").set_index("recording")["reason"]
    assert skipped[f"{bad[1].parent.name}/{bad[1].stem}"] == "silent"
    assert "cannot be decoded" in skipped[f"{bad[0].parent.name}/{bad[0].stem}"]


def test_hours_are_drawn_with_the_seed(corpus, tmp_path):
    drawn = []
    for seed in ("0", "0", "1"):
        out = tmp_path / f"{len(drawn)}"
        line = [*MUSIC, "--hours", "0.022", "--seed", seed, "-ps", str(out)]
        line += ["--set", "dataset.val=0.25"]
        assert generate_dataset.main(line) == 0
        drawn.append(pd.read_csv(out / "split.csv"))
    assert drawn[0].equals(drawn[1]) and not drawn[0].equals(drawn[2])
    assert 18 <= len(drawn[0]) < 32


def test_the_mixture_has_equal_durations(paths, demo):
    shutil.copytree(demo / "speech", paths.data / "speech")
    assert generate_dataset.main(["-d", "s", "-l", "x"]) == 0
    split = pd.read_csv(paths.data / "features/speech/mix/split.csv")
    totals = split.groupby("language")["length"].sum() * 512 / 16000
    assert abs(totals["english"] - totals["mandarin"]) < 12
    assert set(split["split"]) == {"train", "val"}
    assert split.groupby("split")["language"].nunique().tolist() == [2, 2]


def test_missing_corpus_and_folder_exit_with_2(paths, capsys):
    assert generate_dataset.main(MUSIC) == 2
    assert "4Q-Emotion not found" in capsys.readouterr().err
    assert generate_dataset.main([*MUSIC, "-pl", str(paths.data / "nowhere")]) == 2


def run(*line, **options):
    """The stage in a process of its own."""
    options = {"cwd": ROOT, "capture_output": True, "text": True, "timeout": 120} | options
    return subprocess.run([sys.executable, "generate_dataset.py", *map(str, line)], **options)


def files(folder):
    """Content of every file of a data set but the versions and the times in dataset.json."""
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.mark.slow
def test_a_full_disk_leaves_what_was_there(corpus):
    """A file-size limit stands for the full disk: it fails in the same call of the system."""
    assert generate_dataset.main(MUSIC) == 0
    before = files(folder(corpus))
    line = [*MUSIC, "--seed", "1", "--overwrite", "-pl", corpus.data]
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (400_000, 400_000))
    result = run(*line, preexec_fn=limit)
    assert result.returncode == 2, result.stderr
    assert "no room to write" in result.stderr and "Traceback" not in result.stderr
    assert files(folder(corpus)) == before
    # what was extracted stays for the same line, once there is room
    assert sorted(p.name for p in folder(corpus).parent.iterdir()) == [".work-english", "english"]
    result = run(*line)
    assert result.returncode == 0 and "recordings are extracted already" in result.stdout
    assert [p.name for p in folder(corpus).parent.iterdir()] == ["english"]
    assert "other settings" not in result.stdout and files(folder(corpus)) != before


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 4 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(line, capture_output=True).returncode:
        pytest.skip("mounting a small disk is not permitted here; the test above limits file sizes")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_told_and_goes_on_when_there_is_room(corpus, small_disk, tmp_path):
    ballast = small_disk / "ballast"
    line = [*MUSIC, "-pl", corpus.data, "-ps", small_disk / "out"]
    ballast.write_bytes(b"x" * 3_600_000)
    result = run(*line)  # no room for the frames
    assert result.returncode == 2 and "no room to write" in result.stderr, result.stderr
    ballast.write_bytes(b"x" * 3_100_000)
    result = run(*line)  # room for the frames, not for the files of the splits beside them
    assert result.returncode == 2 and "no room to write" in result.stderr, result.stderr
    assert "Traceback" not in result.stderr
    assert not (small_disk / "out").exists()
    ballast.unlink()
    result = run(*line)
    assert result.returncode == 0, result.stderr
    assert "32 of 32 recordings are extracted already" in result.stdout
    assert generate_dataset.main([*MUSIC, "-pl", str(corpus.data), "-ps", str(tmp_path / "o")]) == 0
    assert files(small_disk / "out") == files(tmp_path / "o")


@pytest.fixture(scope="module")
def long_corpus(tmp_path_factory):
    """English speech of 48 recordings that take some seconds to extract."""
    data = tmp_path_factory.mktemp("long")
    rng = np.random.default_rng(0)
    for i in range(48):
        speaker = data / f"LibriSpeech/train/{i % 6}/1"
        speaker.mkdir(parents=True, exist_ok=True)
        soundfile.write(speaker / f"{i % 6}-1-{i:04d}.flac", rng.normal(0, 0.1, 48000 * 15), 48000)
    return data


@pytest.fixture(scope="module")
def uninterrupted(long_corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    began = time.monotonic()
    result = run("-d", "s", "-l", "e", "-pl", long_corpus, "-ps", out, "--groups", "speaker")
    assert result.returncode == 0, result.stderr
    return out, time.monotonic() - began


def extracted(out):
    """How many recordings the work folder of `out` holds."""
    work = out.with_name(f".work-{out.name}")
    return sum(path.read_bytes().count(b"\n") for path in work.glob("*.journal"))


def begin(*line, **options):
    """The stage in a process of its own, left running."""
    return subprocess.Popen(
        [sys.executable, "generate_dataset.py", *map(str, line)], cwd=ROOT, **options
    )


def wait_until(stage, condition):
    while stage.poll() is None and not condition():
        time.sleep(0.001)


@pytest.mark.slow
@pytest.mark.parametrize("seed, workers", [(0, 2), (1, 1), (2, 3)])
def test_killed_at_random_moments_the_same_line_gives_the_same_bytes(
    long_corpus, uninterrupted, tmp_path, seed, workers
):
    whole, seconds = uninterrupted
    rng = np.random.default_rng(seed)
    out = tmp_path / "out"
    line = ["-d", "s", "-l", "e", "-pl", long_corpus, "-ps", out, "--groups", "speaker"]
    line += ["--set", f"dataset.workers={workers}"]
    for kill in range(4):
        stage = begin(*line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if kill % 2:  # anywhere, or surely in the middle of extracting
            time.sleep(rng.uniform(0.2, 0.9) * seconds)
        else:
            more = extracted(out) + int(rng.integers(1, 6))
            wait_until(stage, lambda more=more: extracted(out) >= more)
        stage.send_signal(signal.SIGKILL)
        stage.wait()
        if out.exists():
            break
        assert kill or extracted(out)
    if not out.exists():
        time.sleep(0.5)  # worker processes end when they see that their parent is gone
        # a process that dies in the middle of a line leaves half of one
        journal = next((tmp_path / ".work-out").glob("*.journal"))
        with open(journal, "ab") as half, open(journal.with_suffix(".frames"), "ab") as frames:
            half.write(b'{"recording": "train/0')
            frames.write(b"x" * 1001)
    result = run(*line)
    assert result.returncode == 0, result.stderr
    assert files(out) == files(whole)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
def test_frames_that_the_disk_lost_are_extracted_again(long_corpus, uninterrupted, tmp_path):
    out = tmp_path / "out"
    line = ["-d", "s", "-l", "e", "-pl", long_corpus, "-ps", out, "--groups", "speaker"]
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))
    assert run(*line, preexec_fn=limit).returncode == 2
    before = extracted(out)
    frames = next((tmp_path / ".work-out").glob("*.frames"))
    content = bytearray(frames.read_bytes())
    content[1000] ^= 1
    frames.write_bytes(content)
    result = run(*line)
    assert f"{before - 1} of 48 recordings are extracted already" in result.stdout
    assert files(out) == files(uninterrupted[0])


@pytest.mark.slow
def test_a_worker_that_is_killed_is_told(long_corpus, uninterrupted, tmp_path):
    out = tmp_path / "out"
    line = ["-d", "s", "-l", "e", "-pl", long_corpus, "-ps", out, "--groups", "speaker"]
    stage = begin(*line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(stage, lambda: extracted(out))
    name = next((tmp_path / ".work-out").glob("*.journal")).name
    os.kill(int(name.split("-")[0]), signal.SIGKILL)
    said = stage.communicate()[1]
    assert stage.returncode == 2 and "a worker process died" in said and "Traceback" not in said
    assert "extracted already" in run(*line).stdout
    assert files(out) == files(uninterrupted[0])


@pytest.mark.slow
def test_unfinished_work_of_other_settings_is_refused_or_begun_anew(long_corpus, tmp_path):
    out = tmp_path / "out"
    line = ["-d", "s", "-l", "e", "-pl", long_corpus, "-ps", out]
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))
    assert run(*line, preexec_fn=limit).returncode == 2
    for change in (["--seed", "1"], ["--hours", "0.1"], ["--set", "features.hop_length=256"]):
        result = run(*line, *change)
        assert result.returncode == 2 and "unfinished work of other settings" in result.stderr
    result = run(*line, "--seed", "1", "--overwrite")
    assert result.returncode == 0 and "extracted already" not in result.stdout
    other = ["--set", "features.hop_length=256", "--overwrite"]
    assert run(*line, *other, preexec_fn=limit).returncode == 2
    assert "is finished already" in run(*line, "--seed", "1").stdout
    assert "extracted already" in run(*line, *other).stdout  # the unfinished work was kept


@pytest.mark.slow
def test_of_two_stages_on_the_same_output_the_second_stops(long_corpus, uninterrupted, tmp_path):
    out = tmp_path / "out"
    line = ["-d", "s", "-l", "e", "-pl", long_corpus, "-ps", out, "--groups", "speaker"]
    first = begin(*line, stdout=subprocess.DEVNULL)
    wait_until(first, lambda: extracted(out))
    first.send_signal(signal.SIGSTOP)
    second = run(*line)
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 2
    assert f"another process is working on {out}: wait for it, or stop it" in second.stderr
    assert first.wait() == 0
    assert files(out) == files(uninterrupted[0])


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_extracted(long_corpus, uninterrupted, tmp_path):
    out = tmp_path / "out"
    line = ["-d", "s", "-l", "e", "-pl", long_corpus, "-ps", out, "--groups", "speaker"]
    stage = begin(*line, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_until(stage, lambda: extracted(out))
    os.killpg(stage.pid, signal.SIGINT)  # as a terminal does: to the workers too
    said = stage.communicate()[1]
    assert stage.returncode == 130 and "Traceback" not in said
    assert "nothing finished is lost; the same command resumes" in said
    assert "extracted already" in run(*line).stdout
    assert files(out) == files(uninterrupted[0])


@pytest.mark.slow
def test_on_dask_workers_one_of_which_dies(long_corpus, uninterrupted, tmp_path):
    """A real scheduler and two worker processes on loopback."""
    pytest.importorskip("distributed")
    address = tmp_path / "scheduler.json"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def dask(*line):
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *line, "--scheduler-file", str(address)],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    worker = ("worker", "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
    processes = [dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")]
    try:
        processes += [dask(*worker), dask(*worker)]
        deadline = time.monotonic() + 60
        while not address.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        scheduler = json.loads(address.read_text())["address"]
        with distributed_client(scheduler) as client:
            client.wait_for_workers(2, timeout=60)
        out = tmp_path / "out"
        line = ["-d", "s", "-l", "e", "-pl", long_corpus, "-ps", out, "--groups", "speaker"]
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        stage = begin(*line, "--scheduler", scheduler, **pipe)
        wait_until(stage, lambda: extracted(out))
        assert stage.poll() is None, stage.communicate()[0]
        processes[1].kill()
        said = stage.communicate(timeout=120)[0]
        assert stage.returncode == 0, said
        assert "Traceback" not in said
        assert files(out) == files(uninterrupted[0])
    finally:
        for process in processes:
            process.kill()
            process.wait()


def distributed_client(address):
    from distributed import Client

    return Client(address, timeout="30s", set_as_default=False)


def test_a_scheduler_that_does_not_answer_is_named(corpus, capsys):
    pytest.importorskip("distributed")
    line = [*MUSIC, "--scheduler", "tcp://127.0.0.1:9"]
    with patch("lib.features.extraction.DASK_SECONDS", 1):
        assert generate_dataset.main(line) == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err
    assert generate_dataset.main([*MUSIC, "--scheduler", "localhost"]) == 2
    assert "no Dask scheduler answers at localhost" in capsys.readouterr().err


def test_a_changed_corpus_is_noticed(corpus, capsys):
    assert generate_dataset.main(MUSIC) == 0
    song = songs(corpus)[0]
    content = song.read_bytes()
    os.utime(song, ns=(0, 0))  # copied to another time: the same content is the same corpus
    assert generate_dataset.main(MUSIC) == 0
    assert "is finished already" in capsys.readouterr().out
    middle = len(content) // 2
    song.write_bytes(content[:middle] + bytes(9) + content[middle + 9 :])  # the same size
    assert generate_dataset.main(MUSIC) == 2
    said = capsys.readouterr().err
    assert f"content of 1 recordings changed: {song.parent.name}/{song.stem}" in said
    song.unlink()
    shutil.copy(songs(corpus)[1], song)
    assert generate_dataset.main(MUSIC) == 2
    assert generate_dataset.main([*MUSIC, "--overwrite"]) == 0
    assert (
        "1 recordings have the same sound as another, kept in the same split"
        in capsys.readouterr().out
    )


def test_a_mended_recording_is_extracted_again(corpus, capsys):
    bad = songs(corpus)[:4]
    good = [path.read_bytes() for path in bad]
    for path in bad:
        path.write_text("no sound")
    assert generate_dataset.main(MUSIC) == 2
    for path, content in zip(bad, good, strict=True):
        path.write_bytes(content)
    assert generate_dataset.main(MUSIC) == 0
    said = capsys.readouterr().out
    assert "28 of 32 recordings are extracted already" in said and "0 skipped" in said


def test_a_split_can_be_given_back(corpus, tmp_path, capsys):
    first, again, less = (tmp_path / name for name in ("first", "again", "less"))
    line = [*MUSIC, "--folds", "4", "--groups", "artist"]
    assert generate_dataset.main([*line, "-ps", str(first), "--seed", "5"]) == 0
    table = first / "split.csv"
    assert generate_dataset.main([*MUSIC, "--split", str(table), "-ps", str(again)]) == 0
    assert "split as given; 0 groups" in capsys.readouterr().out
    pd.testing.assert_frame_equal(pd.read_csv(again / "split.csv"), pd.read_csv(table))
    for name in ("train", "val", "test"):
        a, b = (content(f / f"{name}_dataset.h5") for f in (first, again))
        differ = {k for k in a if not pd.Series([a[k]]).equals(pd.Series([b[k]]))}
        assert differ == {"seed", "sha256"}
    split = pd.read_csv(table)
    plain = split.loc[(split["fold"] != 1) | (split["split"] == "val"), ["recording", "split"]]
    plain.to_csv(tmp_path / "plain.csv", index=False)
    line = [*MUSIC, "--split", str(tmp_path / "plain.csv"), "-ps", str(less)]
    assert generate_dataset.main(line) == 0
    said = capsys.readouterr().out
    assert f"{32 - len(plain)} recordings of the corpus are not in" in said
    found = pd.read_csv(less / "split.csv")[["recording", "split"]]
    assert found.equals(plain.reset_index(drop=True))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.assign(split="train"), "no recording of .* is left for 'val'"),
        (lambda t: t.assign(split="exam"), "has splits that do not exist: .*legal are train, val"),
        (lambda t: pd.concat([t, t[:1]]), "names recordings more than once"),
        (lambda t: t.assign(recording="x" + t["recording"]), "32 of 32 recordings that the corpus"),
        (lambda t: t.drop(columns="split"), "lacks the columns split"),
        (lambda t: t.assign(quadrant="Q1"), "24 recordings another quadrant than the corpus"),
        (lambda t: t[:0], "names no recording"),
    ],
)
def test_a_split_that_does_not_fit_is_named(corpus, tmp_path, capsys, change, message):
    assert generate_dataset.main([*MUSIC, "-ps", str(tmp_path / "first")]) == 0
    table = pd.read_csv(tmp_path / "first" / "split.csv")
    change(table).to_csv(tmp_path / "split.csv", index=False)
    line = [*MUSIC, "--split", str(tmp_path / "split.csv")]
    assert generate_dataset.main(line) == 2
    assert re.search(message, capsys.readouterr().err)


def test_artists_stay_on_one_side(corpus, capsys):
    metadata = corpus.data / "MER_audio_taffc_dataset" / "panda_dataset_taffc_metadata.csv"
    table = pd.read_csv(metadata)
    table["Artist"] = [f"artist {i % 11}" for i in range(len(table))]
    table.to_csv(metadata, index=False)
    assert generate_dataset.main([*MUSIC, "--groups", "artist", "--folds", "3"]) == 0
    split = pd.read_csv(folder(corpus) / "split.csv")
    assert split.groupby("group")[["split", "fold"]].nunique().to_numpy().max() == 1
    assert pd.crosstab(split["quadrant"], split["split"]).to_numpy().min() >= 1
    said = capsys.readouterr().out
    assert "11 artists, each in one split" in said
    assert re.search(r"splits: off their shares by at most \d\.\d of 32 recordings", said)
    with h5py.File(folder(corpus) / "train_dataset.h5") as file:
        there = set(file["recordings/group"].asstr()[()])
    assert there == set(split.loc[split["split"] == "train", "group"])


def test_groups_that_nobody_knows_are_refused(corpus, capsys):
    (corpus.data / "MER_audio_taffc_dataset" / "panda_dataset_taffc_metadata.csv").unlink()
    assert generate_dataset.main([*MUSIC, "--groups", "artist"]) == 2
    assert "no artist is known of any of the 32 recordings" in capsys.readouterr().err


def test_copies_are_found_whatever_their_names_and_stay_together(corpus, capsys):
    """The same samples in other containers count, other labels of them are told."""
    root = corpus.data / "MER_audio_taffc_dataset"
    table = root / "panda_dataset_taffc_annotations.csv"
    rows = []
    for i in range(6):
        samples = np.random.default_rng(i).normal(0, 3000, 32000).astype(np.int16)
        for j, (suffix, subtype) in enumerate(((".wav", "PCM_16"), (".flac", "PCM_16"))):
            song, quadrant = f"copy{i}{j}", f"Q{1 + (i + j * (i == 0)) % 4}"
            soundfile.write(root / quadrant / f"{song}{suffix}", samples, 16000, subtype=subtype)
            rows.append(f"{song},{quadrant}\n")
    with open(table, "a") as file:
        file.writelines(rows)
    assert generate_dataset.main(MUSIC) == 0
    said = capsys.readouterr().out
    assert "6 recordings have the same sound as another, kept in the same split" in said
    assert "1 of these sounds have more than one quadrant: correct the annotations" in said
    split = pd.read_csv(folder(corpus) / "split.csv", keep_default_na=False).set_index("recording")
    copies = split[split["same_as"] != ""]
    assert len(copies) == 6
    for name, row in copies.iterrows():
        assert row["split"] == split.loc[row["same_as"], "split"], name


def test_speech_by_speaker_and_the_draw_covers_speakers(long_corpus, tmp_path, capsys):
    line = ["-d", "s", "-l", "e", "-pl", str(long_corpus), "--set", "dataset.val=0.3"]
    draws = {}
    for hours in ("0.05", "0.1"):
        out = tmp_path / hours
        more = ["--hours", hours, "--groups", "speaker", "-ps", str(out)]
        assert generate_dataset.main([*line, *more]) == 0
        draws[hours] = pd.read_csv(out / "split.csv")
        assert draws[hours].groupby("group")["split"].nunique().max() == 1
        each = draws[hours].groupby("group")["length"].sum()
        assert len(each) == 6 and each.max() - each.min() <= 1 + 15 * 16000 // 512
    assert set(draws["0.05"]["recording"]) < set(draws["0.1"]["recording"])
    assert "6 speakers, each in one split" in capsys.readouterr().out


def test_agreement_is_reported_and_drops_songs(paths, demo, capsys):
    shutil.copytree(demo / "CH818", paths.data / "CH818")
    line = ["-d", "m", "-l", "m"]
    assert generate_dataset.main([*line, "--agreement"]) == 0
    said = capsys.readouterr().out
    assert "Krippendorff's alpha" in said and "song's    songs" in said
    out = paths.data / "features/music/mandarin.agreement"
    names = ["agreement.json", "agreement.png", "agreement.txt", "confusion.csv", "songs.csv"]
    assert sorted(p.name for p in out.iterdir()) == names
    songs = pd.read_csv(out / "songs.csv")
    limit = float(songs["agreement"].quantile(0.3))
    assert generate_dataset.main([*line, "--min-agreement", str(limit)]) == 0
    split = pd.read_csv(paths.data / "features/music/mandarin/split.csv")
    assert set(split["recording"]) == set(songs.loc[songs["agreement"] >= limit, "song"])
    lost = (songs["agreement"] < limit).sum()
    assert f"{lost} of {len(songs)} songs have an agreement below" in capsys.readouterr().out


def test_a_corpus_without_annotators_has_no_agreement(corpus, capsys):
    assert generate_dataset.main([*MUSIC, "--agreement"]) == 2
    assert "4Q-Emotion has quadrants, not ratings by annotator" in capsys.readouterr().err


def test_files_of_two_data_sets_do_not_mix(corpus, tmp_path, capsys, features):
    from lib.datasets import dataset_file
    from lib.errors import UserError

    one, two = tmp_path / "one", tmp_path / "two"
    assert generate_dataset.main([*MUSIC, "-ps", str(one)]) == 0
    assert generate_dataset.main([*MUSIC, "-ps", str(two), "--seed", "1"]) == 0
    shutil.copy(two / "test_dataset.h5", one)
    with pytest.raises(UserError, match="recordings are in more than one of its files"):
        dataset_file.read_folder(one, ("train", "val", "test"), features, "music", "english")
    assert generate_dataset.main([*MUSIC, "-ps", str(one)]) == 0
    assert "lacks test_dataset.h5 and is made again" in capsys.readouterr().out
    dataset_file.read_folder(one, ("train", "val", "test"), features, "music", "english")
    (one / "split.csv").unlink()
    assert generate_dataset.main([*MUSIC, "-ps", str(one)]) == 0
    assert "lacks split.csv" in capsys.readouterr().out and (one / "split.csv").is_file()


@pytest.mark.slow
def test_a_test_split_of_before_does_not_stay(long_corpus, tmp_path):
    out, table = tmp_path / "out", tmp_path / "split.csv"
    line = ["-d", "s", "-l", "e", "-pl", str(long_corpus), "-ps", str(out)]
    assert generate_dataset.main(line) == 0
    split = pd.read_csv(out / "split.csv")
    split.loc[:3, "split"] = "test"
    split.to_csv(table, index=False)
    assert generate_dataset.main([*line, "--split", str(table), "--overwrite"]) == 0
    assert (out / "test_dataset.h5").is_file()
    (out / "notes.txt").write_text("mine")
    assert generate_dataset.main([*line, "--overwrite"]) == 0
    assert not (out / "test_dataset.h5").exists() and (out / "notes.txt").is_file()


@pytest.mark.parametrize(
    "line, message",
    [
        (["--folds", "1000000000"], "--folds 1000000000: there are 32 recordings"),
        (["-ps", "/"], "name a folder below it"),
    ],
)
def test_odd_flags_are_refused(corpus, capsys, line, message):
    assert generate_dataset.main([*MUSIC, *line]) == 2
    assert message in capsys.readouterr().err


def test_an_agreement_that_no_song_has_is_refused(paths, demo, capsys):
    shutil.copytree(demo / "CH818", paths.data / "CH818")
    table = next((paths.data / "CH818").rglob("*.csv"))
    ratings = pd.read_csv(table)
    extra = ratings.drop_duplicates("song").assign(annotator=99, arousal=0.01, valence=-0.01)
    opposite = extra.assign(annotator=98, arousal=-0.01, valence=0.01)
    pd.concat([ratings, extra, opposite]).to_csv(table, index=False)
    assert generate_dataset.main(["-d", "m", "-l", "m", "--min-agreement", "1"]) == 2
    assert "no song has an agreement of 1: ask for less" in capsys.readouterr().err


def test_the_current_folder_can_be_written_to(corpus, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert generate_dataset.main([*MUSIC, "-pl", str(corpus.data), "-ps", "."]) == 0
    assert (here / "split.csv").is_file()


@pytest.mark.parametrize("content", ['{"inputs": []}', "{}", "[]", "{", '{"inputs": null}'])
def test_a_damaged_record_is_named(corpus, capsys, content):
    assert generate_dataset.main(MUSIC) == 0
    (folder(corpus) / "dataset.json").write_text(content)
    assert generate_dataset.main(MUSIC) == 2
    assert "dataset.json is damaged: make the set again (--overwrite)" in capsys.readouterr().err
    assert generate_dataset.main([*MUSIC, "--overwrite"]) == 0
    assert "inputs" in json.loads((folder(corpus) / "dataset.json").read_text())


def test_which_recordings_are_new_gone_or_of_another_size_is_told(corpus, capsys):
    assert generate_dataset.main(MUSIC) == 0
    first, second = songs(corpus)[:2]
    table = corpus.data / "MER_audio_taffc_dataset" / "panda_dataset_taffc_annotations.csv"
    table.write_text(table.read_text().replace(first.stem, "MT9", 1))
    first.rename(first.with_name("MT9.mp3"))
    second.write_bytes(second.read_bytes() + bytes(9))
    assert generate_dataset.main(MUSIC) == 2
    said = capsys.readouterr().err
    changes = f"1 added (Q1/MT9), 1 removed (Q1/{first.stem}), 1 of another size (Q1/{second.stem})"
    assert changes in said


@pytest.mark.parametrize("name", ["split.csv", "skipped.csv", "sources.csv"])
def test_a_table_of_a_data_set_that_was_changed_is_refused(corpus, capsys, name):
    assert generate_dataset.main(MUSIC) == 0
    path = folder(corpus) / name
    text = path.read_text()
    changed = text.replace(",Q1", ",Q2", 1) if name == "split.csv" else text + "\n"
    path.write_text(changed)
    assert generate_dataset.main(MUSIC) == 2
    assert f"{name}: cut, changed or gone since it was written" in capsys.readouterr().err
    assert path.read_text() == changed  # somebody's work, perhaps
    path.write_text(text)
    assert generate_dataset.main(MUSIC) == 0
    assert "is finished already" in capsys.readouterr().out


def test_a_data_set_of_before_is_finished(corpus, capsys):
    """Without hashes of its tables, and without settings that came later."""
    assert generate_dataset.main(MUSIC) == 0
    path = folder(corpus) / "dataset.json"
    record = json.loads(path.read_text())
    for name in ("split.csv", "skipped.csv", "sources.csv"):
        del record["files"][name]
    for name in ("folds", "min_agreement", "groups"):
        del record["inputs"][name]
    path.write_text(json.dumps(record))
    assert generate_dataset.main(MUSIC) == 0
    assert "is finished already" in capsys.readouterr().out
    assert generate_dataset.main([*MUSIC, "--folds", "2"]) == 2
    assert "folds: 0 instead of 2" in capsys.readouterr().err


def test_a_mount_point_is_told_before_the_extraction(corpus, tmp_path, monkeypatch, capsys):
    disk = tmp_path / "disk"
    disk.mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == str(disk))
    with patch("lib.datasets.preparation.extract", side_effect=AssertionError("extracted")):
        assert generate_dataset.main([*MUSIC, "-ps", str(disk)]) == 2
    assert "disk is a mount point and cannot be replaced: name a folder" in capsys.readouterr().err
    assert generate_dataset.main([*MUSIC, "-ps", str(disk / "english")]) == 0


def test_damaged_work_is_named_with_what_to_remove(corpus, capsys):
    work = folder(corpus).with_name(".work-english")
    work.mkdir(parents=True)
    (work / "inputs.json").write_text("{")
    assert generate_dataset.main(MUSIC) == 2
    assert f"inputs.json is damaged: remove {work}, its recordings" in capsys.readouterr().err


def test_names_with_spaces_at_their_ends_stay_what_they_are(paths, capsys):
    rng = np.random.default_rng(0)
    for i in range(8):
        path = paths.data / f"LibriSpeech/x/{i}/1/{i} a .flac"
        path.parent.mkdir(parents=True)
        soundfile.write(path, rng.normal(0, 0.1, 20000), 16000)
    line = ["-d", "s", "-l", "e"]
    assert generate_dataset.main(line) == 0
    assert generate_dataset.main(line) == 0
    assert "is finished already" in capsys.readouterr().out
    split = paths.data / "features/speech/english/split.csv"
    assert generate_dataset.main([*line, "--split", str(split), "-ps", str(paths.models)]) == 0


def test_folds_of_a_given_split_keep_groups_where_asked(corpus, tmp_path, capsys):
    metadata = corpus.data / "MER_audio_taffc_dataset" / "panda_dataset_taffc_metadata.csv"
    table = pd.read_csv(metadata)
    table["Artist"] = [f"artist {i % 11}" for i in range(len(table))]
    table.to_csv(metadata, index=False)
    assert generate_dataset.main([*MUSIC, "--groups", "artist", "-ps", str(tmp_path / "a")]) == 0
    line = [*MUSIC, "--split", str(tmp_path / "a" / "split.csv"), "--groups", "artist"]
    assert generate_dataset.main([*line, "--folds", "3", "-ps", str(tmp_path / "b")]) == 0
    assert "folds: off their shares by at most" in capsys.readouterr().out
    split = pd.read_csv(tmp_path / "b" / "split.csv")
    assert split.groupby("group")["fold"].nunique().max() == 1
    split["split"] = ["train", "val", "test", "train"] * 8
    split.drop(columns="fold").to_csv(tmp_path / "torn.csv", index=False)
    line[line.index("--split") + 1] = str(tmp_path / "torn.csv")
    assert generate_dataset.main([*line, "-ps", str(tmp_path / "c")]) == 2
    assert "the split that was given divides" in capsys.readouterr().err
    split.assign(fold="banana").to_csv(tmp_path / "torn.csv", index=False)
    assert generate_dataset.main([*line, "-ps", str(tmp_path / "c")]) == 2
    assert "folds that are no numbers: banana" in capsys.readouterr().err


def test_a_draw_that_gives_less_than_asked_is_told(paths, capsys):
    """A stream's header does not say how long it is."""
    rng = np.random.default_rng(0)
    for i in range(12):
        path = paths.data / f"LibriSpeech/x/{i}/1/a.flac"
        path.parent.mkdir(parents=True)
        soundfile.write(path, rng.normal(0, 0.1, 160000), 16000)
        if i == 5:
            content = bytearray(path.read_bytes())
            content[21] &= 0xF0
            content[22:26] = bytes(4)
            path.write_bytes(content)
    assert generate_dataset.main(["-d", "s", "-l", "e", "--hours", "0.025"]) == 0
    split = pd.read_csv(paths.data / "features/speech/english/split.csv")
    assert len(split) >= 9


def test_a_terminal_without_the_letters_is_no_failure(corpus, tmp_path):
    out = tmp_path / "größe"
    result = run(
        *MUSIC, "-pl", corpus.data, "-ps", out, env=os.environ | {"PYTHONIOENCODING": "ascii"}
    )
    assert result.returncode == 0, result.stderr
    assert (out / "split.csv").is_file() and "gr\\xf6\\xdfe" in result.stdout


def test_recordings_that_changed_are_named(tmp_path):
    table = pd.DataFrame(
        {
            "recording": list("abcd"),
            "language": "english",
            "group": "",
            "quadrant": ["Q1", "Q2", "Q3", "Q4"],
            "arousal": [0.1 + 0.2, np.nan, -1, -1],
            "valence": np.nan,
            "bytes": [10, 10, 10, 10],
        }
    )
    table[:3].drop(columns="bytes").to_csv(tmp_path / "split.csv", index=False)
    table[3:][["recording"]].to_csv(tmp_path / "skipped.csv", index=False)
    table[["recording", "bytes"]].to_csv(tmp_path / "sources.csv", index=False)
    now = table[1:].copy()
    now.loc[1, "quadrant"], now.loc[3, "bytes"] = "Q3", 11
    now.loc[9] = table.loc[0].replace("a", "é")
    told = preparation_report.changed_recordings(tmp_path, now)
    assert told == "recordings: 1 added (é), 1 removed (a), 1 relabelled (b), 1 of another size (d)"
    now = table.assign(arousal=table["arousal"] + 1e-12)
    assert "2 relabelled" not in preparation_report.changed_recordings(tmp_path, table)
    assert preparation_report.changed_recordings(tmp_path, now) == "recordings: 2 relabelled (a, c)"
    (tmp_path / "skipped.csv").unlink()
    assert "skipped.csv is gone" in preparation_report.changed_recordings(tmp_path, now)


def test_spellings_of_an_artist_are_not_torn(corpus, tmp_path, capsys):
    """A data set of before that keeps its groups; one made anew has one group per artist."""
    metadata = corpus.data / "MER_audio_taffc_dataset" / "panda_dataset_taffc_metadata.csv"
    table = pd.read_csv(metadata)
    spellings = ["Ella", "Ella & Louis", "ELLA feat. Joe", "The Jam", "Jam"]
    table["Artist"] = [*spellings, *(f"artist {i % 9}" for i in range(len(table) - 5))]
    table.to_csv(metadata, index=False)
    line = [*MUSIC, "--groups", "artist", "--folds", "3"]
    with patch("lib.corpora.artists.artist_groups", side_effect=list):
        assert generate_dataset.main(line) == 0
    path = folder(corpus) / "split.csv"
    before = path.read_bytes()
    capsys.readouterr()
    assert generate_dataset.main(line) == 0
    said = capsys.readouterr().out
    assert "artists with several credits, each one group: 2 (ELLA feat. Joe = Ella = Ella &" in said
    assert "keeps a group per spelling of an artist" in said and "is finished already" in said
    assert path.read_bytes() == before
    assert set(spellings) <= set(pd.read_csv(path)["group"])
    assert generate_dataset.main([*line, "--overwrite"]) == 0
    assert "11 artists, each in one split" in capsys.readouterr().out
    split = pd.read_csv(path)
    by_artist = dict(zip(table["Song"], table["Artist"], strict=True))
    spelt = split["recording"].map(lambda name: by_artist[name.split("/")[1]])
    for artist, credits in (("Ella", spellings[:3]), ("Jam", spellings[3:])):
        mine = split[spelt.isin(credits)]
        assert set(mine["group"]) == {artist} and mine["fold"].nunique() == 1
        assert mine["split"].nunique() == 1
    # another change is still one
    pd.read_csv(metadata).assign(Artist="x").to_csv(metadata, index=False)
    assert generate_dataset.main(line) == 2
    assert "relabelled" in capsys.readouterr().err
