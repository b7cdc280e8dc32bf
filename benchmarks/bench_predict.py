"""Measure the speed of predict.py as a whole process, as ratios to floors of the same run.

    python3 benchmarks/bench_predict.py FOLDER --clips 200 --minutes 60 [--musicnn]

FOLDER has sound files of about 30 s. The benchmark predicts one of them, a folder of --clips of
them with and without figures, and one file of --minutes, each with the ONNX file of the suite's
model and through Keras. The floors are the import of the necessary packages, and decoding and
resampling the same files on all cores. Then it times the parts of a prediction in one thread.
--musicnn adds embed.py with musicnn's graph (requirements/encoders.txt).
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

import numpy as np
import soundfile
import soxr

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lib.features import audio_decoding, log_mel
from lib.labels import SOUND
from lib.models import classifiers
from lib.prediction import Predictor

RATE = 44_100  # Hz, of the long file
IMPORTS = "import onnxruntime, soundfile, soxr, numpy"
DECODING = """
import sys, multiprocessing, numpy, soundfile, soxr
def decode(path):
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    soxr.resample(samples.mean(axis=1), rate, 16000)
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool() as pool:
        pool.map(decode, sys.argv[1:], chunksize=1)
"""


def main(argv=None) -> int:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("folder", type=Path)
    p.add_argument("--clips", type=int, default=200)
    p.add_argument("--minutes", type=float, default=60)
    p.add_argument("--musicnn", action="store_true")
    args = p.parse_args(argv)
    files = [path for path in sorted(args.folder.rglob("*")) if path.suffix.lower() in SOUND]
    files = files[: args.clips]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips, keras, long = folder / "clips", folder / "keras", folder / "long.wav"
        clips.mkdir()
        for path in files:
            (clips / path.name).symlink_to(path.resolve())
        keras.mkdir()  # the model of the suite, without its ONNX file
        shutil.copy(ROOT / "models_trans/shipped/model.keras", keras)
        seconds = join(files, args.minutes * 60, long)
        one_clip(files[0], keras, folder)
        folder_of_clips(clips, keras, folder, musicnn=args.musicnn)
        parts_of_a_clip(files)
        long_file(long, seconds, keras, folder)
    return 0


def one_clip(clip: Path, keras: Path, folder: Path) -> None:
    print("one clip of 30 s, from cold, the best of five:")
    line = ["predict.py", "-i", clip, "-o", folder / "one", "--overwrite", "--no-figures"]
    floor, _ = best(["-c", IMPORTS])
    ours, memory = best(line)
    slow, much = best([*line, "--model", keras / "model.keras"])
    print(
        f"  {slow / ours:.1f} times as fast as through Keras; {ours / floor:.1f} times the imports"
    )
    print(f"  imports {floor:.2f} s; predict.py {ours:.2f} s, {memory:.0f} MB; ", end="")
    print(f"through Keras {slow:.2f} s, {much:.0f} MB")


def folder_of_clips(clips: Path, keras: Path, folder: Path, musicnn: bool) -> None:
    number = len(list(clips.iterdir()))
    line = ["predict.py", "-i", clips, "-o", folder / "many", "--overwrite"]
    lines = {
        "decoding and resampling": ["-c", DECODING, *sorted(clips.iterdir())],
        "without figures": [*line, "--no-figures"],
        "with figures": line,
        "through Keras, without figures": [*line, "--no-figures", "--model", keras / "model.keras"],
    }
    if musicnn:
        out = folder / "musicnn.codes"
        line = ["embed.py", "-i", clips, "-o", out, "--with", "musicnn:MTT", "--overwrite"]
        lines["musicnn's graph"] = line
    print(f"a folder of {number} clips, each line once more at the end, the better of both:")
    compare(lines, 30 * number)


def parts_of_a_clip(files: list[Path]) -> None:
    """Print milliseconds per clip of the parts of a prediction, in this thread."""
    (classifier,) = Predictor.load().classifiers
    features, marks = classifier.features, []
    length = features["window_frames"]
    for path in files:
        marks.append([time.perf_counter()])
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        samples = soxr.resample(samples.mean(axis=1), rate, features["sample_rate"])
        marks[-1].append(time.perf_counter())
        frames = log_mel.log_mel_frames([samples / np.abs(samples).max()], features)
        batches = list(log_mel.cut(frames, length, length, size=classifiers.BATCH))
        marks[-1].append(time.perf_counter())
        for batch in batches:
            classifier.predict(batch)
        marks[-1].append(time.perf_counter())
    decoding, frames, network = 1000 * np.diff(marks).mean(axis=0)
    print("parts of a clip, in one thread: ", end="")
    print(f"decoding {decoding:.1f} ms, log-mel {frames:.1f} ms, network {network:.1f} ms")


def long_file(path: Path, seconds: float, keras: Path, folder: Path) -> None:
    line = ["predict.py", "-i", path, "-o", folder / "long", "--overwrite", "--no-figures"]
    print(f"one file of {seconds / 60:.1f} min, {path.stat().st_size / 1e6:.0f} MB:")
    lines = {
        "decoding and resampling": ["-c", DECODING, path],
        "without figures": line,
        "hop of 0.48 s": [*line, "--hop", "0.48"],
        "through Keras": [*line, "--model", keras / "model.keras"],
    }
    compare(lines, seconds)


def compare(lines: dict[str, list], seconds: float) -> None:
    """Print the time of each command relative to the first; `seconds` of sound."""
    taken = {name: best(line, repeat=1) for name, line in lines.items()}
    taken = {name: min(taken[name], best(line, repeat=1)) for name, line in lines.items()}
    floor = next(iter(taken.values()))[0]
    for name, (took, memory) in taken.items():
        print(f"  {took / floor:5.2f}  {name}: {took:.1f} s, ", end="")
        print(f"{seconds / took:.0f} times real time, {memory:.0f} MB")


def best(line: list, repeat: int = 5) -> tuple[float, float]:
    """The minimum of (seconds, peak memory in MB) of a Python command, over `repeat` processes."""
    return min(process(line) for _ in range(repeat))


def process(line: list) -> tuple[float, float]:
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            [sys.executable, *map(str, line)], cwd=ROOT, stdout=said, stderr=said
        )
        _, status, usage = os.wait4(child.pid, 0)
        took = time.perf_counter() - began
        if status:
            said.seek(0)
            sys.exit(said.read().decode())
    return took, usage.ru_maxrss / 1024


def join(files: list[Path], seconds: float, path: Path) -> float:
    """Write the files one after another, repeatedly, as stereo; returns the seconds."""
    written = 0
    with soundfile.SoundFile(str(path), "w", RATE, 2, "PCM_16") as out:
        for source in cycle(files):
            samples = audio_decoding.read_audio(source, RATE)
            out.write(np.stack([samples, samples], axis=1))
            written += len(samples)
            if written >= seconds * RATE:
                return written / RATE


if __name__ == "__main__":
    sys.exit(main())
