"""Measure the overhead of embed.py over the encoder alone, and its memory for long sound files.

    python3 benchmarks/bench_embed.py                 clips of 4Q-Emotion below path_to_data
    python3 benchmarks/bench_embed.py --clips 40 --rounds 3 --hours 10

Prints, for the suite's CPC encoder (random weights, full width) and openSMILE's ComParE_2016:
    overhead   CPU seconds of the stage, from sound files to the codes file, / of the encoder alone
               on the same samples, decoded before: alternating, the minimum of several rounds. The
               time for one clip (the start of the stage) is reported alone and left out of both
    memory     peak resident memory of embed.py for one file of 20 min and one of `hours`; the same
               without the pages of files, which the system can drop
"""

import contextlib
import io
import multiprocessing
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import soundfile
from bench_dataset import peak

from lib import configuration
from lib.artefacts import files
from lib.command_line import flags
from lib.embedding import catalogue, embedding_stage
from lib.errors import guard
from lib.features import audio_decoding
from lib.models import catalogue as models

RATE = 16_000  # Hz
RUN = "models/speech/english/model_cpc.it_0"


def pretrained(folder, maps):
    """A CPC encoder with random weights, as a finished run."""
    settings = configuration.load()
    settings["network"]["maps"] = maps
    run = folder / f"{maps}" / RUN
    run.mkdir(parents=True)
    models.spec("model_cpc").build(settings).save(run / "encoder.keras")
    files.write_json(run / "run.json", {"inputs": {"features": settings["features"]}})
    return f"run:{run}"


def in_memory(path):
    """A recording, decoded once and kept in memory."""
    samples = audio_decoding.read_audio(path, RATE)
    spool = io.BytesIO(samples.tobytes())
    return audio_decoding.Sound(
        spool, np.float32(1), RATE, samples=len(samples), promised=len(samples) / RATE
    )


def cpu_seconds(work):
    """CPU seconds of a call, including its worker processes (except their last 0.1 s)."""
    import psutil

    done, seconds, watched = threading.Event(), {}, []

    def watch():
        while not done.wait(0.1):
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    seconds.setdefault(process.pid, []).append(times.user + times.system)
        watched.append(time.thread_time())  # of watching, which does not belong to the stage

    began, watching = time.process_time(), threading.Thread(target=watch)
    watching.start()
    work()
    done.set()
    watching.join()
    own = time.process_time() - began - watched[0]
    return own + sum(values[-1] - values[0] for values in seconds.values())


def alone(text, recordings, rounds):
    """CPU seconds of the encoder for all recordings except the first, one value per round."""
    encode = catalogue.find(text, configuration.load()).load()
    sounds = list(map(in_memory, recordings.values()))
    list(encode(sounds[0]))
    for _ in range(rounds):
        began = time.process_time()
        for sound in sounds[1:]:
            list(encode(sound))
        yield time.process_time() - began


def staged(text, recordings, rounds):
    """CPU seconds of the stage for one recording and for the others, one pair per round."""
    encoder = catalogue.find(text, configuration.load())
    first = dict(list(recordings.items())[:1])
    with tempfile.TemporaryDirectory() as folder:

        def stage(part, number):
            target = Path(folder) / f"{len(part)} {number}.codes"
            return cpu_seconds(
                lambda: embedding_stage.embed(encoder, part, target, max_cut=1.0, workers=1)
            )

        stage(first, -1)  # a network's first step takes longer
        for number in range(rounds):
            start = stage(first, number)
            yield start, stage(recordings, number) - start


def begin(way, text, recordings, rounds):
    global _rounds  # each process runs only one way
    _rounds = way(text, recordings, rounds)


def step():
    return next(_rounds)


def overhead(text, recordings, rounds):
    """Print the overhead. Each way has its own process: openSMILE cannot share with TensorFlow."""
    context = multiprocessing.get_context("spawn")
    pools = [
        ProcessPoolExecutor(1, context, begin, (way, text, recordings, rounds))
        for way in (staged, alone)
    ]
    results = [[pool.submit(step).result() for pool in pools] for _ in range(rounds)]
    for pool in pools:
        pool.shutdown()
    a, b = min(stage for (_, stage), _ in results), min(encoder for _, encoder in results)
    start = min(start for (start, _), _ in results)
    print(
        f"{named(text)}: {len(recordings) - 1} clips, stage {a:.2f} s (and {start:.2f} s to start "
        f"with one), encoder {b:.2f} s: overhead {a / b:.2f}",
        flush=True,
    )


def named(text):
    return text.partition(":")[0].replace("run", "CPC")


def tone(path, hours):
    """Write a sound file of a tone with changing level."""
    t = np.arange(60 * RATE) / RATE
    minute = (0.5 * np.sin(2 * np.pi * 220 * t) * np.sin(2 * np.pi * t / 7)).astype(np.float32)
    path.parent.mkdir(parents=True)
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for _ in range(round(hours * 60)):
            file.write(minute)


def memory(text, hours, folder):
    peaks = []
    for length in (1 / 3, hours):
        place = folder / f"{length:.2f}"
        if not place.exists():
            tone(place / "tone.flac", length)
        line = [sys.executable, "embed.py", "-i", str(place), "-o", f"{place}.codes"]
        stage = subprocess.Popen(
            [*line, "--with", text, "--overwrite"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        peaks.append(peak(stage))
    for name, (short, long) in zip(
        ("peak memory", "without pages of files"), zip(*peaks, strict=True), strict=True
    ):
        print(
            f"{named(text)}: {name} {short:.0f} MB for 20 min, {long:.0f} MB for {hours:g} h: "
            f"{long / short:.2f}",
            flush=True,
        )


def parse_args(argv=None):
    p = flags.parser(__doc__)
    p.add_argument("--clips", type=flags.at_least(1), default=40, help="of 4Q-Emotion (40)")
    p.add_argument("--rounds", type=flags.at_least(1), default=3, help="of each way (3)")
    p.add_argument("--hours", type=flags.number(1, 100), default=10, help="of the long file (10)")
    return p.parse_args(argv)


@guard
def main(argv=None) -> int:
    args = parse_args(argv)
    data = flags.data_folder(flags.settings_from(args))
    recordings = embedding_stage.recordings_of_corpus("music", "english", data)
    recordings = dict(list(recordings.items())[:: max(1, len(recordings) // args.clips)])
    with tempfile.TemporaryDirectory() as folder:
        for text in (pretrained(Path(folder), 32), "opensmile:ComParE_2016"):
            overhead(text, recordings, args.rounds)
        for text in (pretrained(Path(folder), 4), "opensmile:ComParE_2016"):
            memory(text, args.hours, Path(folder) / "sound")
    return 0


if __name__ == "__main__":
    sys.exit(main())
