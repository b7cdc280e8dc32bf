"""How fast predict.py is: real-time factor and memory on a long file, beside the bare network.

    python3 benchmarks/bench_predict.py FOLDER --minutes 60

joins sound files of FOLDER to one of so many minutes (16-bit WAV, 44.1 kHz stereo) and predicts it
with the model of the suite, as a process of its own.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import timeit
from itertools import cycle
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lib.features import audio_decoding
from lib.prediction.output_files import SOUND
from lib.prediction.predictor import SIZE

RATE = 44_100  # Hz

# predicts, and tells the seconds that it took in all and the largest memory that it had
CHILD = """
import resource, sys, time
began = time.perf_counter()
import predict
status = predict.main(sys.argv[1:])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{time.perf_counter() - began:.1f} {peak:.0f}")
sys.exit(status)
"""


def main(argv=None) -> int:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("folder", type=Path)
    p.add_argument("--minutes", type=float, default=60)
    args = p.parse_args(argv)
    files = [path for path in sorted(args.folder.rglob("*")) if path.suffix.lower() in SOUND]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.wav"
        seconds = join(files, args.minutes * 60, path)
        print(f"{seconds / 60:.1f} min of {args.folder.name}, {path.stat().st_size / 1e6:.0f} MB")
        for hop in (None, 0.48):
            line = ["-i", str(path), "-o", f"{folder}/{hop}", *(["--hop", str(hop)] if hop else [])]
            result = subprocess.run(
                [sys.executable, "-c", CHILD, *line], cwd=ROOT, capture_output=True, text=True
            )
            if result.returncode:
                sys.exit(result.stderr)
            took, peak = map(float, result.stdout.split("\n")[-2].split())
            print(
                f"hop {hop or 0.992} s: {took:.1f} s with the start of the process, "
                f"{seconds / took:.0f} times real time, {peak:.0f} MB at most"
            )
        windows = seconds / 0.992
        bare = bare_speed()
        factor = bare * seconds / windows
        print(f"the network alone: {bare:.0f} windows/s, {factor:.0f} times real time")
        decoding = decode_speed(path, seconds)
        print(f"decoding and log-mel alone: {decoding:.0f} times real time")
    return 0


def join(files: list[Path], seconds: float, path: Path) -> float:
    """Write files end to end, over and over, as stereo; returns the seconds."""
    written = 0
    with soundfile.SoundFile(str(path), "w", RATE, 2, "PCM_16") as out:
        for source in cycle(files):
            samples = audio_decoding.read_audio(source, RATE)
            out.write(np.stack([samples, samples], axis=1))
            written += len(samples)
            if written >= seconds * RATE:
                return written / RATE


def bare_speed() -> float:
    """Windows/s of the network in memory."""
    from lib import keras_backend

    keras_backend.import_keras()
    from lib.prediction.predictor import Predictor

    model = Predictor.load().classifiers[0].model
    x = np.random.default_rng(0).normal(-5, 2, (SIZE, 128, 31, 1)).astype(np.float32)
    model.predict_on_batch(x)  # compiles
    return SIZE * 50 / min(timeit.repeat(lambda: model.predict_on_batch(x), number=50))


def decode_speed(path: Path, seconds: float) -> float:
    from lib import configuration

    began = time.perf_counter()
    for _ in audio_decoding.stream(path, configuration.load()["features"]):
        pass
    return seconds / (time.perf_counter() - began)


if __name__ == "__main__":
    sys.exit(main())
