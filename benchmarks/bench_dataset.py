"""Measure the cost of a data set: memory, disk, workers, reading; and check it after SIGKILL.

    python3 benchmarks/bench_dataset.py              English speech below path_to_data
    python3 benchmarks/bench_dataset.py -l m

If the corpus is too short, it is repeated as links with other names. Prints
    memory     peak resident memory of the stage for 20 min and for 30 h, 2 workers
    disk       bytes of the files / bytes of the original's layout (windows in float32)
    workers    recordings per second with 2 workers / with 1, alternating
    reading    time to read a split into memory / numpy.fromfile of the same bytes, both cached
    batches    windows/s of batches from a data set larger than memory / from memory
    SIGKILL    of ten runs killed at random moments, those that end with the bytes of a whole run
"""

import random
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import pandas as pd

from lib import keras_backend
from lib.command_line import flags
from lib.corpora import catalogue
from lib.datasets import dataset_file
from lib.errors import guard
from lib.features import (
    audio_decoding,
    extraction,
    extraction_shards,
    log_mel,
)
from lib.labels import LANGUAGES

CORPUS = {"e": "LibriSpeech/x", "m": "data_aishell/wav/x"}


def links(table, language, hours, folder):
    """A corpus of `hours`, made of repeated links to the recordings of `table`."""
    suffix = Path(table["path"][0]).suffix
    seconds, total, round_ = [audio_decoding.duration(path) for path in table["path"]], 0.0, 0
    while total < hours * 3600:
        for path, group, length in zip(table["path"], table["group"], seconds, strict=True):
            speaker = folder / CORPUS[language] / f"{group}r{round_}"
            speaker = speaker / "1" if language == "e" else speaker
            speaker.mkdir(parents=True, exist_ok=True)
            (speaker / f"{total:.3f}{suffix}").symlink_to(path)
            total += length
            if total >= hours * 3600:
                break
        round_ += 1
    return folder


def start(data, out, language, *more):
    line = [sys.executable, "generate_dataset.py", "-d", "s", "-l", language, "--hours", "0"]
    line += ["-pl", str(data), "-ps", str(out), *more]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(stage):
    """Wait for a stage; raise RuntimeError with its errors if it fails."""
    errors = stage.stderr.read()
    if stage.wait():
        raise RuntimeError(errors.decode())


def peak(stage):
    """Peak memory in MB of a stage, summed over its processes at each moment: resident, and without
    the pages of files, which the system can drop."""
    import psutil

    resident = own = 0
    while stage.poll() is None:
        try:
            parent = psutil.Process(stage.pid)
            family = [parent, *parent.children(recursive=True)]
            memory = [process.memory_info() for process in family]
            resident = max(resident, sum(part.rss for part in memory))
            own = max(own, sum(part.rss - part.shared for part in memory))
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.02)
    finish(stage)
    return resident / 1e6, own / 1e6


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def memory_and_disk(table, language, folder):
    peaks = {}
    for name, hours in (("20 min", 1 / 3), ("30 h", 30.0)):
        data, out = links(table, language, hours, folder / f"{hours:.1f}"), folder / f"out {name}"
        began = time.monotonic()
        peaks[name], _ = peak(start(data, out, language, "--set", "dataset.workers=2"))
        took = time.monotonic() - began
        lengths = pd.read_csv(out / "split.csv")["length"]
        size = sum(path.stat().st_size for path in out.iterdir())
        windows = sum(len(log_mel.window_starts(n, 31, 15)) for n in lengths)
        share = size / (windows * 31 * 128 * 4)
        print(
            f"{name:>7}: {len(lengths)} recordings, {took:.1f} s, peak memory "
            f"{peaks[name]:.0f} MB; disk {size / 1e6:.0f} MB, {share:.3f} of the original's layout",
            flush=True,
        )
    print(f"memory  30 h / 20 min: {peaks['30 h'] / peaks['20 min']:.3f}")


def workers(table, folder, features, rounds=5, recordings=1000):
    """Extraction alone, from the 64th recording on: the start of processes does not scale."""
    rows = [
        {"recording": f"{copy} {path}", "path": path, **extraction_shards.stamp(path)}
        for copy in range(1 + recordings // len(table))
        for path in table["path"]
    ][:recordings]
    rates = {1: [], 2: []}
    for round_ in range(rounds):
        for number in rates:
            with extraction.Work(folder / f"{number} {round_}", {}, features["n_mels"]) as work:
                extractor = partial(
                    extraction_shards.extract_one, features=dict(features), max_cut=0.02
                )
                if number == 1:
                    entries = extraction._here(rows, extractor, work.folder)
                else:
                    entries = extraction._in_processes(rows, extractor, work.folder, workers=number)
                times = [time.monotonic() for _ in entries]
            rates[number].append((len(rows) - 64) / (times[-1] - times[63]))
    one, two = (float(np.median(rates[number])) for number in (1, 2))
    print(f"workers {one:.0f} and {two:.0f} recordings/s with 1 and 2: {two / one:.2f}", flush=True)


def reading(folder, features, rounds=9):
    path = folder / "out 30 h" / "train_dataset.h5"
    ours, plain = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        windows = dataset_file.read(path, features, "")
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        raw = np.fromfile(path, np.uint8)
        plain.append(time.perf_counter() - began)
        size = raw.nbytes
        del windows, raw
    a, b = min(ours), min(plain)
    print(
        f"reading {size / a / 1e9:.2f} and {size / b / 1e9:.2f} GB/s, checked and plain: "
        f"{a / b:.2f} times as long",
        flush=True,
    )


def larger_than_memory(folder, features, rounds=5):
    """An epoch of denoising batches, with an eighth of the frames in memory / with all."""
    keras_backend.import_keras()
    from lib.training import denoising_batches

    path = folder / "out 20 min" / "train_dataset.h5"
    whole = dataset_file.read(path, features, "")
    part = dataset_file.read(path, features, "", memory=whole.frames.nbytes / 8)
    rates = {}
    for name, windows in (("memory", whole), ("disk", part)) * rounds:
        pairs = denoising_batches.DenoisingPairs(windows, {"noise": 0.3}, 128, shuffle=True)
        began = time.perf_counter()
        served = sum(len(pairs[number][0]) for number in range(len(pairs)))
        rate = served / (time.perf_counter() - began)
        rates[name] = max(rate, rates.get(name, 0))
    a, b = rates["disk"], rates["memory"]
    print(f"batches {a:.0f} and {b:.0f} windows/s, from disk and memory: {a / b:.2f}", flush=True)


def killed(folder, language, times=10):
    data, whole = folder / "hours", folder / "whole"
    began = time.monotonic()
    finish(start(data, whole, language))
    seconds, same, moments = time.monotonic() - began, 0, random.Random(0)
    for number in range(times):
        out, kills = folder / f"killed {number}", 0
        while not out.exists() and kills < 3:
            stage = start(data, out, language)
            time.sleep(moments.uniform(0.15, 0.95) * seconds)
            stage.send_signal(signal.SIGKILL)
            stage.wait()
            stage.stderr.close()
            kills += 1
        finish(start(data, out, language))
        same += files(out) == files(whole)
    print(f"SIGKILL {same} of {times} end with the same bytes", flush=True)


def parse_args(argv=None):
    p = flags.parser(__doc__)
    flags.language_flag(p, "-l", "--language", legal="em", of="the speech", required=False)
    p.set_defaults(language="e")
    return p.parse_args(argv)


@guard
def main(argv=None) -> int:
    args = parse_args(argv)
    settings = flags.settings_from(args)
    table = catalogue.read_corpus("speech", LANGUAGES[args.language], flags.data_folder(settings))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        memory_and_disk(table, args.language, folder)
        reading(folder, settings["features"])
        larger_than_memory(folder, settings["features"])
        workers(table, folder, settings["features"])
        links(table, args.language, 5.0, folder / "hours")
        killed(folder, args.language)
    return 0


if __name__ == "__main__":
    sys.exit(main())
