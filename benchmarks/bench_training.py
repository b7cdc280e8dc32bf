"""Measure the overhead of training over the network's bare step, and what a frozen encoder saves.

    python3 benchmarks/bench_training.py                    all; English below path_to_data
    python3 benchmarks/bench_training.py --only model_cpc --rounds 9

Needs the data sets of `generate_dataset.py -d s -l e` and `-d m -l e`. Runs in one process, and
alternates round by round. Prints medians of
    epoch, step    windows/s of an epoch of training with the stage's own code (batches, steps,
                   callbacks, saved state; without validation, which has no such step), windows/s of
                   the bare step on one batch in memory, and their ratio per round
    heads on codes windows/s of such an epoch with a frozen encoder / of the bare step that also
                   runs the frozen encoder
    predictions    windows/s of the encoder, by windows per step and in bfloat16
"""

import argparse
import contextlib
import io
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lib import keras_backend
from lib.command_line import flags

KINDS = ("model_over", "model_cpc")


def parse_args(argv=None):
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, help="kinds of encoder")
    p.add_argument("--rounds", type=flags.at_least(2), default=5, help="in turn (5)")
    p.add_argument("--windows", type=flags.at_least(512), default=1024, help="of an epoch, about")
    return p.parse_args(argv)


args = parse_args()
keras_backend.import_keras()

import keras
import numpy as np

from lib.datasets import dataset_file
from lib.errors import guard
from lib.models import saved_models
from lib.pretraining import pretraining_stage
from lib.training import fit, hardware, optimizer, progress
from lib.transfer import transfer_stage
from lib.transfer.transfer_plan import TransferPlan

SIZES = (64, 128, 256, 512, 1024)  # windows per step of prediction
SECONDS = 2.0  # of every measurement of a bare step


class Begin(progress.EpochSeed):
    """The first callback: runs the bare step before each epoch, and starts the clock."""

    rounds = ()  # of the last training: windows/s of an epoch, and of the bare step

    def on_epoch_begin(self, epoch, logs=None):
        train = self.course.train
        if epoch == 0:
            Begin.rounds = ()
            self.step = bare_step(self.model, train[0])
        self.bare = rate(self.step, train.size * train.windows)
        super().on_epoch_begin(epoch, logs)
        self.clock = time.perf_counter()

    def on_test_begin(self, logs=None):
        self.spent = time.perf_counter() - self.clock

    def on_epoch_end(self, epoch, logs=None):
        Begin.last, self.clock = self, time.perf_counter()


class End(progress.SavedStates):
    """The last callback: adds the time of all callbacks after an epoch."""

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        begin, train = Begin.last, self.course.train
        spent = begin.spent + time.perf_counter() - begin.clock
        Begin.rounds += ((len(train) * train.size * train.windows / spent, begin.bare),)


def bare_step(model, batch):
    """A step of training on one batch, in the backend's own form; returns when it is done."""
    import tensorflow as tf

    function = tf.function(model.train_step, jit_compile=model.jit_compile)
    tensors = keras.tree.map_structure(tf.constant, batch)
    return lambda: float(function(tensors)["loss"])


def rate(step, windows):
    """Windows/s of a step of this number of windows: the mean over SECONDS."""
    step()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        step()
        steps += 1
    return steps * windows / (time.perf_counter() - began)


def few(windows, most):
    """At most about `most` windows, of recordings spread over the data set."""
    recordings = np.unique(windows.recording)
    step = max(1, len(windows) // most)
    index = np.flatnonzero(np.isin(windows.recording, recordings[::step]))
    parts = {name: getattr(windows, name)[index] for name in ("starts", "recording", "local")}
    return replace(windows, sha256=f"{windows.sha256}/{step}", **parts)


def epochs(title, run):
    """Print the epochs of a stage against the bare step; returns the windows/s of an epoch."""
    with contextlib.redirect_stdout(io.StringIO()):
        run()
    rounds = Begin.rounds[1:]  # the first compiles
    whole, bare = (statistics.median(side) for side in zip(*rounds, strict=True))
    ratio = statistics.median(a / b for a, b in rounds)
    speeds = f"epoch {whole:7.0f}  step {bare:7.0f} windows/s"
    print(f"{title:34} {speeds}  ratio {ratio:.3f}", flush=True)
    return whole


def compared(title, steps, windows):
    """Windows/s of several steps (name -> step), alternating; the first is the reference."""
    found = {name: [] for name in steps}
    for _ in range(args.rounds):
        for name, step in steps.items():
            found[name].append(rate(step, windows[name]))
    found = {name: statistics.median(speeds) for name, speeds in found.items()}
    first = next(iter(found.values()))
    shown = "  ".join(f"{name} {speed:.0f} ({speed / first:.2f})" for name, speed in found.items())
    print(f"{title:34} {shown}", flush=True)
    return found


@guard
def main(_=None) -> int:
    settings = flags.settings_from(flags.parser(None).parse_args([]))
    for section in ("pretrain", "transfer", "release"):
        settings[section]["epochs"] = args.rounds + 1
    settings["training"] |= {"xla": "off", "codes_gb": 0.0}
    fit.DUTIES, fit.SavedStates = (Begin, *fit.DUTIES[1:]), End
    dataset_file.read_folder = read_few
    for kind in args.only:
        with tempfile.TemporaryDirectory() as models:
            settings["paths"]["models"] = models
            measure(kind, settings)
    return 0


def read_few(*where, _read=dataset_file.read_folder, **how):
    found = _read(*where, **how)
    return {name: few(windows, most[0]) for name, windows in found.items()}


def measure(kind, settings):
    """All measurements of one kind of encoder."""
    speech, music = (flags.dataset_folder(settings, of, "e") for of in ("speech", "music"))

    def transfer_(release):
        plan = TransferPlan.from_flags(kind, "e", "e", release=release)
        transfer_stage.transfer(plan, settings, music, overwrite=release)

    most[0] = args.windows
    epochs(
        f"{kind}, pretraining",
        lambda: pretraining_stage.pretrain(kind, ("speech", "e"), settings, speech),
    )
    most[0] = 10**9  # all: an epoch of the heads takes only two seconds
    heads = epochs(f"{kind}, heads on codes (-rel n)", lambda: transfer_(False))
    frozen_run = TransferPlan.from_flags(kind, "e", "e", release=False).name("feat_ext", 0)
    run = frozen_run.path(settings["paths"]["models"])
    frozen(kind, saved_models.load_model(run / "model.keras", ""), heads, settings, music)
    most[0] = args.windows
    epochs(f"{kind}, released (-rel y)", lambda: transfer_(True))


most = [args.windows]  # windows of an epoch


def frozen(kind, model, heads, settings, music):
    """Compare heads on codes with the encoder in every step, and time the encoder's predictions."""
    windows = dataset_file.read_folder(music, ("train",), settings["features"], "music", "english")[
        "train"
    ]
    size = settings["transfer"]["batch_windows"]
    x = windows.take(np.arange(size))
    y = {task: values[:size] for task, values in windows.labels().items()}
    model.get_layer("encoder").trainable = False
    model.compile(
        optimizer.optimizer(settings["transfer"], settings["training"]),
        dict.fromkeys(y, "sparse_categorical_crossentropy"),
        jit_compile=False,
    )
    step = bare_step(model, (x, y))
    step()
    every = statistics.median(rate(step, size) for _ in range(args.rounds))
    print(f"{kind + ', frozen':34} heads on codes / encoder in every step: {heads / every:.1f}")
    encoder = model.get_layer("encoder")
    half = hardware.for_prediction(encoder, "bfloat16")
    some = np.resize(windows.take(np.arange(1024)), (1024, *x.shape[1:]))
    steps = {str(n): lambda n=n: encoder.predict_on_batch(some[:n]) for n in SIZES}
    steps["bfloat16"] = lambda: half.predict_on_batch(some[:256])
    windows = {name: int(name) if name.isdigit() else 256 for name in steps}
    order = ["256", *(name for name in steps if name != "256")]
    compared(f"{kind}, encoder's predictions", {name: steps[name] for name in order}, windows)


if __name__ == "__main__":
    sys.exit(main())
