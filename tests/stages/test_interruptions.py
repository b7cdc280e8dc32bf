"""Real processes, stopped at random moments: nothing is lost, and the result is the same."""

import os
import random
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

EPOCHS = 6
LINES = {
    "pretrain_cpc.py": (
        "-s e -mod model_cpc_nce --set pretrain.batch_windows=48 --set network.maps=4"
    ).split(),
    "trans_train_cpc_multi.py": (
        "-s e -m e -mod model_cpc -rel n --set transfer.batch_windows=24 --set heads.units=32"
    ).split(),
}
RUNS = {
    "pretrain_cpc.py": "models/speech/english/model_cpc_nce.it_0",
    "trans_train_cpc_multi.py": "models_trans/speech_eng_2_music_eng/model_cpc.feat_ext.it_0",
}


def begin(script, pipeline, models, *more, epochs=EPOCHS):
    """The stage as a process; the transfer finds the pretrained encoder of the pipeline."""
    if script.startswith("trans") and not (models / "models").exists():
        models.mkdir(exist_ok=True)
        (models / "models").symlink_to(pipeline.models / "models")
    return subprocess.Popen(
        [sys.executable, script, *LINES[script], "--epochs", str(epochs), *more],
        cwd=ROOT,
        env=os.environ
        | {"MER_PATH_TO_DATA": str(pipeline.data), "MER_PATH_TO_MODELS": str(models)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def states(run):
    return sorted((run / "checkpoint").glob("epoch_*.npz"))


def wait_for(process, run, epoch):
    """Wait until an epoch is saved, or the process is done."""
    while process.poll() is None and not any(p.stem >= f"epoch_{epoch:05d}" for p in states(run)):
        time.sleep(0.005)


@pytest.fixture(scope="module", params=list(LINES))
def uninterrupted(request, pipeline, tmp_path_factory):
    """A stage from end to end: its script, its run directory, seconds per epoch."""
    models = tmp_path_factory.mktemp("whole")
    process = begin(request.param, pipeline, models)
    said = process.communicate(timeout=250)[0]
    assert process.returncode == 0, said
    run = models / RUNS[request.param]
    seconds = pd.read_csv(run / "history.csv")["seconds"].mean()
    return SimpleNamespace(script=request.param, run=run, seconds=seconds)


def same(run, other):
    """Whether two runs ended alike: weights within 1e-6, the same history."""
    pair = [keras.models.load_model(r / "model.keras", compile=False) for r in (run, other)]
    for a, b in zip(*(net.get_weights() for net in pair), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6, rtol=0)
    tables = [pd.read_csv(r / "history.csv") for r in (run, other)]
    tables = [t.drop(columns=["seconds", "windows_per_second"]) for t in tables]
    pd.testing.assert_frame_equal(*tables, atol=1e-6, rtol=0)
    return True


@pytest.mark.slow
def test_killed_at_random_moments_the_same_line_ends_the_same(uninterrupted, pipeline, tmp_path):
    """SIGKILL and SIGTERM, each at a moment drawn anew in every run of the tests."""
    seed = random.SystemRandom().randrange(10**6)
    rng, run = random.Random(seed), tmp_path / "out" / RUNS[uninterrupted.script]
    print(f"random moments of seed {seed}")
    after = sorted(rng.sample(range(1, EPOCHS - 1), 2))
    for epoch, how in zip(after, rng.sample([signal.SIGKILL, signal.SIGTERM], 2), strict=True):
        process = begin(uninterrupted.script, pipeline, tmp_path / "out")
        wait_for(process, run, epoch)
        time.sleep(rng.uniform(0, 1.5 * uninterrupted.seconds))
        process.send_signal(how)
        said = process.communicate(timeout=60)[0]
        print(said)
        if how == signal.SIGTERM and process.returncode == -signal.SIGTERM:
            # Python itself was starting or ending: before the stage, or after its last line
            assert not said or "finished: " in said
        elif how == signal.SIGTERM and process.returncode != 0:
            assert process.returncode == 143
            assert "; the same command resumes" in said  # what is saved, if it was training still
            assert "Traceback" not in said
    process = begin(uninterrupted.script, pipeline, tmp_path / "out")
    said = process.communicate(timeout=250)[0]
    assert process.returncode == 0, said
    assert "resuming after epoch" in said or "is finished already" in said
    assert same(run, uninterrupted.run)
    assert not (run / "checkpoint").exists()
    hidden = [path.name for path in run.parent.iterdir() if path.name.startswith(".")]
    assert not hidden


@pytest.mark.slow
def test_ctrl_c_says_what_is_saved_and_two_at_once_are_refused(uninterrupted, pipeline, tmp_path):
    run = tmp_path / "out" / RUNS[uninterrupted.script]
    first = begin(uninterrupted.script, pipeline, tmp_path / "out", "--set", "run.seed=3")
    wait_for(first, run, 1)
    assert first.poll() is None, first.communicate()[0]
    os.kill(first.pid, signal.SIGSTOP)
    second = begin(uninterrupted.script, pipeline, tmp_path / "out", "--set", "run.seed=3")
    said = second.communicate(timeout=60)[0]
    assert second.returncode == 2 and "another process is working on" in said
    first.send_signal(signal.SIGINT)
    os.kill(first.pid, signal.SIGCONT)
    said = first.communicate(timeout=60)[0]
    assert first.returncode == 130 and "Traceback" not in said
    assert f"of at most {EPOCHS} is saved in {run / 'checkpoint'}" in said
    assert (run / "checkpoint/history.csv").is_file() and not (run / "run.json").exists()


@pytest.mark.slow
def test_deterministic_runs_are_the_same_bit_for_bit(pipeline, tmp_path):
    weights = []
    for name in "ab":
        process = begin("pretrain_cpc.py", pipeline, tmp_path / name, "--deterministic", epochs=2)
        said = process.communicate(timeout=250)[0]
        assert process.returncode == 0 and "deterministic" in said, said
        path = tmp_path / name / RUNS["pretrain_cpc.py"] / "model.keras"
        weights.append(keras.models.load_model(path, compile=False).get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)
