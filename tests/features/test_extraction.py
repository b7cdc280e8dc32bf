"""Work folders: what is taken up again, what is bounded, which worker does what."""

import json
from concurrent.futures import Future

import numpy as np
import pandas as pd
import pytest
import soundfile

from lib.errors import UserError
from lib.features import extraction, extraction_shards, worker_processes
from lib.features.frame_packing import Packing


@pytest.fixture
def recordings(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for i in range(6):
        path = tmp_path / f"{i}.wav"
        soundfile.write(path, rng.normal(0, 0.1, 20000 + 1000 * i), 16000)
        rows.append({"recording": f"r{i}", "path": str(path), **extraction_shards.stamp(str(path))})
    (tmp_path / "5.wav").write_text("no sound")
    rows[5] |= extraction_shards.stamp(rows[5]["path"])
    return pd.DataFrame(rows)


def work(tmp_path, **inputs):
    return extraction.Work(tmp_path / "work", {"seed": 0, **inputs}, 128)


@pytest.mark.parametrize("workers", [1, 2])
def test_entries_and_frames_are_those_of_the_recordings(recordings, features, tmp_path, workers):
    from lib.features import audio_decoding

    with work(tmp_path) as folder:
        entries = extraction.extract(recordings, features, 0.02, folder, workers)
        assert entries["recording"].tolist() == recordings["recording"].tolist()
        assert entries["digest"].notna().tolist() == [True] * 5 + [False]
        assert "cannot be decoded" in entries["reason"][5]
        packing = Packing.of(features)
        for row in recordings[:5].itertuples():
            expected = packing.pack(audio_decoding.extract(row.path, features))
            np.testing.assert_array_equal(folder.frames(row.recording), expected)


def test_only_what_is_missing_or_changed_is_extracted(recordings, features, tmp_path, monkeypatch):
    done = []
    one = extraction_shards.extract_one

    def counted(row, **settings):
        done.append(row["recording"])
        return one(row, **settings)

    monkeypatch.setattr(extraction_shards, "extract_one", counted)
    with work(tmp_path) as folder:
        extraction.extract(recordings[:3], features, 0.02, folder, 1)
    with work(tmp_path) as folder:
        extraction.extract(recordings, features, 0.02, folder, 1)
    assert sorted(done) == [f"r{i}" for i in range(6)]
    soundfile.write(recordings["path"][5], np.random.default_rng(1).normal(0, 0.1, 20000), 16000)
    stamps = pd.DataFrame([extraction_shards.stamp(path) for path in recordings["path"]])
    recordings[["bytes", "modified"]] = stamps
    with work(tmp_path) as folder:
        entries = extraction.extract(recordings, features, 0.02, folder, 1)
    assert done[6:] == ["r5"] and entries["digest"].notna().all()


def test_work_for_something_else_is_refused(tmp_path):
    with work(tmp_path):
        pass
    with pytest.raises(UserError, match="seed: 0 instead of 1.*finish it with the command"):
        work(tmp_path, seed=1)
    extraction.Work(tmp_path / "work", {"seed": 1}, 128, overwrite=True)
    assert json.loads((tmp_path / "work" / "inputs.json").read_text()) == {"seed": 1}


def test_jobs_are_of_a_size_and_hold_every_row():
    rows = [{"bytes": size} for size in (5, 5, 5, 30, -1, 5, 0)]
    jobs = list(extraction._jobs(rows, 10))
    assert [len(job) for job in jobs] == [2, 2, 3]
    assert [row for job in jobs for row in job] == rows


def test_no_more_jobs_run_than_are_asked_for():
    running, most_seen = [], 0

    def submit(job):
        nonlocal most_seen
        running.append((Future(), job))
        most_seen = max(most_seen, sum(not f.done() for f, _ in running))
        if len(running) >= 3:  # as if the oldest were done now
            oldest = next(pair for pair in running if not pair[0].done())
            oldest[0].set_result([oldest[1]])
        return running[-1][0]

    results = []
    for result in worker_processes.bounded(submit, range(10), 3):
        results.append(result)
        if len(results) == 8:
            for future, job in running:
                if not future.done():
                    future.set_result([job])
    assert sorted(results) == list(range(10)) and most_seen <= 4


def test_processes_are_started_where_the_work_is_worth_it(
    recordings, features, tmp_path, monkeypatch
):
    used = []
    for name in ("_here", "_in_processes"):
        real = getattr(extraction, name)
        monkeypatch.setattr(
            extraction,
            name,
            lambda *args, n=name, r=real, **workers: used.append(n) or r(*args, **workers),
        )
    with work(tmp_path) as folder:
        extraction.extract(recordings[:2], features, 0.02, folder)
        monkeypatch.setattr(extraction, "WORKER_BYTES", 10_000)
        extraction.extract(recordings[:4], features, 0.02, folder)
    assert used == ["_here", "_in_processes"]


BROKEN = [
    "{}",
    '{"recording": "r0"}',
    '{"recording": 3, "reason": "x"}',
    '{"recording": "r0", "path": "x", "bytes": 1, "modified": 1}',
    '{"recording": "r0", "path": "x", "bytes": 1, "modified": 1, "shard": "s", "start": 0, '
    '"length": 1000000000000, "digest": "x"}',
]


@pytest.mark.parametrize("line", BROKEN)
def test_a_damaged_line_costs_its_recording_alone(recordings, features, tmp_path, line):
    with work(tmp_path) as folder:
        extraction.extract(recordings, features, 0.02, folder, 1)
    journal = next((tmp_path / "work").glob("*.journal"))
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([line, *lines[1:]]) + "\n")
    with work(tmp_path) as folder:
        assert set(folder.entries) == {f"r{i}" for i in range(1, 5)}  # r5 cannot be used
        entries = extraction.extract(recordings, features, 0.02, folder, 1)
    assert entries["digest"].notna().tolist() == [True] * 5 + [False]


def test_a_file_that_changes_while_it_is_read_is_not_taken(recordings, features, monkeypatch):
    row = recordings.to_dict("records")[0]
    real = extraction_shards.file_hash

    def changed(path):
        soundfile.write(path, np.random.default_rng(9).normal(0, 0.1, 20000), 16000)
        return real(path)

    monkeypatch.setattr(extraction_shards, "file_hash", changed)
    entry, frames = extraction_shards.extract_one(row, features, 0.02)
    assert frames is None and "changed while it was read" in entry["reason"]


def test_what_could_not_be_used_is_tried_again(recordings, features, tmp_path, monkeypatch):
    """A permission that was given leaves size and time as they were."""
    path = recordings["path"][0]
    real = extraction_shards.audio_decoding.stream

    def closed(name, *args):
        if name == path:
            raise extraction_shards.audio_decoding.UnusableRecording(
                "no permission to read it, or gone"
            )
        return real(name, *args)

    monkeypatch.setattr(extraction_shards.audio_decoding, "stream", closed)
    with work(tmp_path) as folder:
        entries = extraction.extract(recordings, features, 0.02, folder, 1)
    assert entries["digest"].isna()[0]
    monkeypatch.setattr(extraction_shards.audio_decoding, "stream", real)
    with work(tmp_path) as folder:
        entries = extraction.extract(recordings, features, 0.02, folder, 1)
    assert entries["digest"].notna()[0]
