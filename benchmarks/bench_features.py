"""Measure CPU time per minute of audio: the original's way, this suite, and decoding alone (floor).

    python3 benchmarks/bench_features.py                      the corpora below path_to_data
    python3 benchmarks/bench_features.py --recordings 100

For each corpus, the ways alternate on the same recordings, each in its own process with one thread.
Prints the sum over the recordings of each one's minimum of several rounds (every process keeps
freed memory, for a fair comparison):
    (a) original   librosa.load, stft, melspectrogram and logarithm, a file at a time
    (b) suite      lib.features.audio_decoding.stream and the packing of the data set file
    (c) floor      soundfile.read, mean of the channels, librosa.resample
and the largest difference of the suite's stored frames from librosa's (off by), the share of frames
transformed again in float64 (again), and the difference without that (alone). "44.1/2": ten clips
of the music as stereo mp3 at 44.1 kHz, the usual format of music.
"""

import contextlib
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import librosa  # after the numbers of threads
import numpy as np
import soundfile

from lib import console
from lib.command_line import flags
from lib.corpora import catalogue
from lib.errors import UserError, guard
from lib.features import (
    audio_decoding,
    extraction_shards,
    log_mel,
)
from lib.features.frame_packing import Packing

EPSILON = np.finfo(np.float32).eps


def original(path, f):
    """frames : float32 (n, n_mels), as the released system computes them."""
    samples, rate = librosa.load(path, sr=f["sample_rate"])
    samples = samples / np.abs(samples).max()
    magnitude = np.abs(
        librosa.stft(
            samples, n_fft=f["n_fft"], win_length=f["win_length"], hop_length=f["hop_length"]
        )
    )
    return np.log(librosa.feature.melspectrogram(S=magnitude, sr=rate) + EPSILON).T


def suite(path, f):
    packing = Packing.of(f)
    return np.concatenate([packing.pack(frames) for frames in audio_decoding.stream(path, f)])


def floor(path, f):
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if rate != f["sample_rate"]:
        mono = librosa.resample(mono, orig_sr=rate, target_sr=f["sample_rate"])
    return mono


def float32_alone(paths, wanted, f):
    """The share of frames transformed again in float64, and the largest difference without that."""
    level, real = log_mel.FLOAT32_LEVEL, log_mel._transform
    frames = {np.float32: 0, np.float64: 0}

    def counted(framed, bank):
        frames[bank.window.dtype.type] += len(framed)
        return real(framed, bank)

    try:
        log_mel._transform = counted
        for path in paths:
            audio_decoding.extract(path, f)
        log_mel._transform, log_mel.FLOAT32_LEVEL = real, 0.0
        off = max(
            np.abs(audio_decoding.extract(path, f) - w).max()
            for path, w in zip(paths, wanted, strict=True)
        )
    finally:
        log_mel.FLOAT32_LEVEL, log_mel._transform = level, real
    return frames[np.float64] / frames[np.float32], off


def seconds(way, paths, f):
    """CPU seconds of each recording : float64 (recordings,)."""
    times = [time.process_time()]
    for path in paths:
        way(path, f)
        times.append(time.process_time())
    return np.diff(times)


def parse_args(argv=None):
    p = flags.parser(__doc__)
    p.add_argument("--recordings", type=flags.at_least(1), default=40, help="per corpus (40)")
    p.add_argument("--rounds", type=flags.at_least(1), default=5, help="of each way (5)")
    return p.parse_args(argv)


@guard
def main(argv=None) -> int:
    args = parse_args(argv)
    settings = flags.settings_from(args)
    data, features = flags.data_folder(settings), settings["features"]
    header = "CPU ms per minute     original   suite   floor   suite/floor  original/suite  off by"
    print(header + "   again  alone")
    measured = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, paths in recordings(data, args.recordings, Path(folder)):
            compare(name, paths, features, args.rounds)
            measured += 1
    return 0 if measured else 2


def recordings(data, number, folder):
    """Name and some paths of each available corpus, and of its music in the usual format."""
    for kind, language in catalogue.CORPORA:
        try:
            table = catalogue.read_corpus(kind, language, data)
        except UserError as error:
            print(f"{kind} {language}: left out ({str(error)[:60]}…)")
            continue
        step = max(1, len(table) // number)
        paths = table["path"][::step][:number].tolist()
        yield f"{kind} {language}", paths
        if kind == "music":
            for k, path in enumerate(paths[:10]):
                samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
                stereo = librosa.resample(samples.T, orig_sr=rate, target_sr=44100)[[0, -1]]
                soundfile.write(folder / f"{language}{k}.mp3", stereo.T, 44100)
            yield "  the same, 44.1/2", sorted(map(str, folder.glob(f"{language}*.mp3")))


def compare(name, paths, features, rounds):
    """Print a line: the CPU time of each way, their ratios, the suite's difference."""
    minutes = sum(audio_decoding.duration(path) for path in paths) / 60
    packing, ways = Packing.of(features), (original, suite, floor)
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        stack.enter_context(console.native_messages_aside())
        wanted = [original(path, features) for path in paths]
        stored = [packing.unpack(suite(path, features)) for path in paths]
        off = max(np.abs(s - w).max() for s, w in zip(stored, wanted, strict=True))
        again, alone = float32_alone(paths, wanted, features)
        pools = [
            stack.enter_context(ProcessPoolExecutor(1, context, extraction_shards.keep_memory))
            for _ in ways
        ]
        times = [
            [
                pool.submit(seconds, way, paths, features).result()
                for pool, way in zip(pools, ways, strict=True)
            ]
            for _ in range(rounds)
        ]
    a, b, c = 1000 * np.min(times, axis=0).sum(axis=1) / minutes
    ratios = f"{b / c:13.2f} {a / b:15.2f} {off:8.0e} {again:7.0%} {alone:7.0e}"
    print(f"{name:<20} {a:9.1f} {b:7.1f} {c:7.1f} {ratios}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
