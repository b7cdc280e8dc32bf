"""The Snakefile: its graph, what it runs again, how it goes on, and on SLURM. Its scripts are
replaced by ones that leave at once what the real ones leave after hours."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT

STAND_IN = """
import os, sys, time
from pathlib import Path
from lib.artefacts.run_name import RunName

script, given = Path(sys.argv[0]).stem, sys.argv[1:]
flags = dict(zip(given[:-1], given[1:]))
with open("calls.txt", "a") as file:
    print(script, *given, file=file)
models = Path(os.environ.get("MER_PATH_TO_MODELS", "none"))
first = [v.split("=")[1] for v in given if v.startswith("run.first=")]
model = flags.get("-mod")
mode = {"y": "full", "n": "feat_ext"}.get(flags.get("-rel"))
if script == "make_demo_data":
    path = Path(flags["--out"]) / "demo.json"
elif script == "generate_dataset":
    path = Path(flags["-ps"]) / "dataset.json"
elif script.startswith("pretrain"):
    name = RunName(model, "pretrain", flags["-s"], iteration=int(first[0]))
    path = name.path(models) / "run.json"
elif script.startswith("trans"):
    mode = "scratch" if model == "model_cnn" else mode
    name = RunName(model, mode, flags["-s"], flags["-m"], int(first[0]))
    path = name.path(models) / "run.json"
else:
    path = models / "results" / "table.md"
while Path("wait").exists() and Path("wait").read_text() in str(path):
    time.sleep(0.1)
if Path("fail").exists() and Path("fail").read_text() in str(path):
    sys.exit("no luck")
path.parent.mkdir(parents=True, exist_ok=True)
path.write_text("done")
"""
SCRIPTS = ["make_demo_data", "generate_dataset", "results_table", "pretrain_denoise"]
SCRIPTS += ["pretrain_cpc", "trans_train_denoise_multi", "trans_train_cpc_multi"]


@pytest.fixture
def suite(tmp_path):
    """A copy of the suite with stand-ins for its scripts; calls snakemake in it."""
    for name in ("lib", "profiles"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "settings.py"):
        shutil.copy(ROOT / name, tmp_path)
    for name in SCRIPTS:
        (tmp_path / f"{name}.py").write_text(STAND_IN)
    (tmp_path / "corpora").mkdir()

    def call(*line, data="corpora", models="", python=sys.executable):
        calls = tmp_path / "calls.txt"
        calls.unlink(missing_ok=True)
        result = subprocess.run(
            [python, "-m", "snakemake", "--cores", "2", *line],
            cwd=tmp_path,
            env={k: v for k, v in os.environ.items() if not k.startswith("MER_")}
            | {"MER_PATH_TO_DATA": data, "MER_PATH_TO_MODELS": models},
            capture_output=True,
            text=True,
        )
        said = result.stdout + result.stderr
        lines = calls.read_text().splitlines() if calls.exists() else []
        return SimpleNamespace(status=result.returncode, said=said, lines=lines)

    call.folder = tmp_path
    return call


def jobs(said):
    """{rule: number of jobs} of a dry run."""
    table = said.rsplit("Job stats:", 1)[1].split("total", 1)[0].splitlines()[3:]
    return {name: int(count) for name, count in (line.split() for line in table if line.strip())}


@pytest.mark.slow
def test_the_graph_of_the_paper(suite):
    expected = {"music": 2, "speech": 3, "pretrain": 6, "feat_ext": 12, "full": 12, "scratch": 2}
    assert jobs(suite("-n", "table2").said) == expected | {"table": 1, "table2": 1}
    twice = suite("-n", "table2", "--config", "iterations=2", "hours=30", "epochs=3", "-p")
    for name in ("pretrain", "feat_ext", "full", "scratch"):
        expected[name] *= 2
    assert jobs(twice.said) == expected | {"table": 1, "table2": 1}
    threads = f"--set training.threads={min(2, os.cpu_count())}"
    assert f"-s m -mod model_cpc -pl corpora/features/speech_30h/mandarin {threads}" in twice.said
    assert "--iterations 2 --set run.first=1 --overwrite --epochs 3" in twice.said
    assert "--hours 30 -pl corpora/" in twice.said
    assert "hours_30/models_trans/speech_eng_2_music_man/model_over.full.it_1/run" in twice.said
    demo = suite("-n", "demo", "-p").said  # small trainings, two at a time
    assert demo.count("--set training.threads=1 ") == 6 + 12 + 2
    lost = suite("-n", "table2", data="nowhere")
    assert lost.status != 0 and "path_to_data is nowhere, which is not a folder" in lost.said


@pytest.mark.slow
def test_folders_may_have_blanks_in_their_names(suite):
    cell = "models/speech/english/model_cpc.it_0/run.json"
    (suite.folder / "my corpora").mkdir()
    done = suite(cell, data="my corpora")
    assert done.status == 0, done.said
    assert (suite.folder / "my corpora/features/speech/english/dataset.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["my {x}", "my {", "my }"])
def test_folders_with_braces_in_their_names_are_named_at_once(suite, name):
    for place in ("data", "models"):
        (suite.folder / name).mkdir(exist_ok=True)
        refused = suite("-n", "demo", **{place: name})
        assert refused.status != 0 and refused.lines == []
        assert f"{name} has braces in its name, which Snakemake takes for" in refused.said


def test_the_project_and_its_python_may_lie_in_a_folder_of_any_name(suite):
    """As a virtual environment inside the project does."""
    own = suite.folder / "a 'b' {x}"
    (own / "bin").mkdir(parents=True)
    (own / "bin/python").symlink_to(sys.executable)
    for name in ("lib", "pyvenv.cfg"):  # absent where the tests' Python is in no environment
        if (Path(sys.prefix) / name).exists():
            (own / name).symlink_to(Path(sys.prefix) / name)
    cell = "models/speech/english/model_cpc.it_0/run.json"
    done = suite(cell, python=str(own / "bin/python"))
    assert done.status == 0, done.said
    assert (suite.folder / cell).exists()


@pytest.mark.slow
def test_a_cell_runs_what_it_needs_and_goes_on_where_it_failed(suite):
    cell = "models_trans/speech_mix_2_music_man/model_cpc.full.it_0/run.json"
    (suite.folder / "fail").write_text("model_cpc.full")
    failed = suite(cell)
    assert failed.status != 0 and "no luck" in failed.said  # the log is shown, and named
    assert "logs/full.mix_2_man.model_cpc.it_0.txt" in failed.said
    ran = Counter(line.split()[0] for line in failed.lines)
    assert ran == {"generate_dataset": 2, "pretrain_cpc": 1, "trans_train_cpc_multi": 2}
    (suite.folder / "fail").unlink()
    done = suite(cell)
    assert done.status == 0, done.said
    assert [line.split()[:7] for line in done.lines] == [
        "trans_train_cpc_multi -s x -m m -mod model_cpc".split()
    ]
    assert "-rel y" in done.lines[0]
    assert suite(cell).lines == []


@pytest.mark.slow
def test_a_changed_setting_runs_again_what_it_touches(suite):
    assert suite("demo").status == 0
    assert (suite.folder / "demo/results/table.md").exists()

    def again(old, new):
        path = suite.folder / "settings.py"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        found = suite("-n", "demo").said
        path.write_text(text)
        return {} if "Nothing to be done" in found else jobs(found)

    after = {"table": 1, "demo": 1}
    trained = {"feat_ext": 6, "full": 6} | after
    assert again("threads=0", "threads=1") == {}
    assert again("past=4", "past=5") == {"pretrain": 3, "feat_ext": 3, "full": 3} | after
    assert again("units=512", "units=256") == {"scratch": 2} | trained
    assert again("learning_rate=5e-5", "learning_rate=5e-4") == {"full": 6} | after
    assert again("test=0.30", "test=0.20") == {"music": 2, "scratch": 2} | trained
    assert again("n_mels=128", "n_mels=64") == {
        "music": 2, "speech": 3, "pretrain": 6, "scratch": 2, **trained
    }  # fmt: skip
    (suite.folder / "Snakefile").write_text((suite.folder / "Snakefile").read_text() + "\n# a word")
    assert "Nothing to be done" in suite("-n", "demo").said
    (suite.folder / "demo/data/features/speech/mix/dataset.json").write_text("another")
    assert jobs(suite("-n", "demo").said) == {"pretrain": 2, "feat_ext": 2, "full": 2} | after


def test_the_demo_says_how_far_it_is_and_where_to_look(suite):
    clip = suite.folder / "demo/data/MER_audio_taffc_dataset/Q1/a.wav"
    clip.parent.mkdir(parents=True)
    clip.touch()
    shutil.copy(ROOT / "demo.py", suite.folder)
    predict = "import sys\nprint('predicted', *sys.argv[1:])\n"
    (suite.folder / "predict.py").write_text(predict)
    line = [sys.executable, str(suite.folder / "demo.py")]  # from any folder
    (suite.folder / "fail").write_text("model_cpc.full")
    failed = subprocess.run(line, cwd=suite.folder.parent, capture_output=True, text=True)
    assert failed.returncode == 2 and "stopped: see demo/logs/snakemake.txt" in failed.stderr
    (suite.folder / "fail").unlink()
    done = subprocess.run(line, cwd=suite.folder.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    finished = [line for line in lines if "min left" in line]
    total = finished[-1].split()[2]
    assert [line.split()[:3] for line in finished][-1] == [total, "of", total]
    assert any(
        " full eng " in line and "model_over" in line
        for line in finished + failed.stdout.splitlines()
    )
    assert (
        "predicted --model demo/models_trans/speech_eng_2_music_eng/model_over.full.it_0"
        in done.stdout
    )
    assert lines[-2].split()[0] == "demo/results/report.html"
    assert "rule full" in (suite.folder / "demo/logs/snakemake.txt").read_text()


@pytest.mark.slow
def test_every_line_is_legal(suite, monkeypatch, tmp_path):
    """The scripts themselves take what the Snakefile gives them."""
    import importlib

    from lib.datasets import preparation
    from lib.pretraining import pretraining_stage
    from lib.transfer import transfer_stage

    asked = Counter()
    for module, name in (
        (preparation, "prepare"),
        (pretraining_stage, "pretrain"),
        (transfer_stage, "transfer"),
    ):
        monkeypatch.setattr(module, name, lambda *a, name=name, **k: asked.update([name]))
    assert suite("table2", "--config", "hours=3").status == 0
    lines = (suite.folder / "calls.txt").read_text().splitlines()
    for script, *flags in map(str.split, lines):
        if script != "results_table":
            assert importlib.import_module(script).main(flags) == 0, flags
    assert asked == {"prepare": 5, "pretrain": 6, "transfer": 26}


DAEMONS = ("munged", "slurmctld", "slurmd", "squeue", "scancel")
SLURM_CONF = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthInfo=socket={folder}/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/d.pid
SlurmctldLogFile={folder}/ctld.log
SlurmdLogFile={folder}/d.log
AccountingStorageType=accounting_storage/none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture
def slurm(monkeypatch):
    """A SLURM of one node, this machine; the folder of its logs."""
    lacks = [name for name in DAEMONS if shutil.which(name) is None]
    if lacks or os.geteuid() != 0:
        pytest.skip(f"no {lacks or 'root'} for SLURM: apt-get install slurm-wlm munge, as root")
    folder = Path(tempfile.mkdtemp(prefix="slurm", dir="/tmp"))  # paths of sockets must be short
    for name in ("state", "spool"):
        (folder / name).mkdir()
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1], two.getsockname()[1]]
    about = {"host": socket.gethostname(), "ports": ports, "cores": os.cpu_count()}
    (folder / "slurm.conf").write_text(SLURM_CONF.format(folder=folder, **about))
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    # a job step loses SLURM_CONF, for the plugin takes SLURM's variables away
    (folder / "srun").write_text(
        f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n'
    )
    (folder / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    (folder / "key").write_bytes(os.urandom(1024))
    (folder / "key").chmod(0o600)
    munge = f"munged --foreground --force --socket={folder}/munge --key-file={folder}/key "
    munge += f"--seed-file={folder}/seed --log-file={folder}/munged.log --pid-file={folder}/m.pid"
    started = []
    try:
        for line in (munge, "slurmctld -D", "slurmd -D"):
            log = open(folder / "daemons.txt", "a")
            started.append(subprocess.Popen(line.split(), stdout=log, stderr=log))
            time.sleep(1)
        wait_for(lambda: " idle" in told("sinfo"))
        yield folder
    finally:
        for daemon in reversed(started):
            daemon.terminate()
        for daemon in started:
            daemon.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def told(*line):
    return subprocess.run(line, capture_output=True, text=True).stdout


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, told("sinfo") + told("squeue")
        time.sleep(0.5)


@pytest.mark.slurm
def test_on_slurm_a_killed_job_is_told_and_the_same_line_goes_on(suite, slurm):
    cell = "models/speech/english/model_cpc.it_0/run.json"
    line = [cell, "--profile", "profiles/slurm", "--slurm-status-command", "squeue"]
    line += "--slurm-init-seconds-before-status-checks 1 --seconds-between-status-checks 2".split()
    line += ["--latency-wait", "10", "--set-threads", "pretrain=1", "speech=1"]
    line += ["--set-resources", "pretrain:gpu=0", "pretrain:mem_mb=500", "speech:mem_mb=500"]
    (suite.folder / "wait").write_text(cell)

    def kill():
        wait_for(lambda: " R " in told("squeue", "-h", "-o", "%i %t x") and started())
        told("scancel", "--signal=TERM", "--full", told("squeue", "-h", "-o", "%i").strip())

    def started():
        calls = suite.folder / "calls.txt"
        return calls.exists() and "pretrain_cpc" in calls.read_text()

    with ThreadPoolExecutor() as pool:
        killing = pool.submit(kill)
        killed = suite(*line)
        assert killing.exception() is None, killed.said
    assert killed.status != 0 and "SLURM-job" in killed.said, killed.said
    assert "logs/pretrain.english.model_cpc.it_0.txt" in killed.said
    assert [call.split()[0] for call in killed.lines] == ["generate_dataset", "pretrain_cpc"]
    (suite.folder / "wait").unlink()
    done = suite(*line)
    assert done.status == 0, done.said
    assert [call.split()[0] for call in done.lines] == ["pretrain_cpc"]
    assert (suite.folder / cell).exists()
