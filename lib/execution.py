"""How networks are computed on this machine: threads, XLA, windows per step of prediction.

What pays differs between backends and devices, so it is measured here, once per machine and
network, where a training is long enough for it (our choice: from 1,000 steps on), and kept in
models/machine.json. What a result depends on (windows per step of training, number format) is a
setting and is never chosen by speed.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import joblib
import keras

from lib import artefacts
from lib.cli import say
from lib.errors import UserError

STEPS = 1000  # of a training from which a measurement of about 20 steps' time pays
WINDOWS = 20_000  # to predict, likewise
AGAIN = "remove that file, all in it is measured again"
SIZES = (64, 128, 256, 512, 1024)  # windows per step of prediction that are tried


class Machine:
    """This machine, as the backend sees it.

    Parameters
    ----------
    training : section `training` of the settings
    store : file of what was measured on machines before; None keeps nothing

    Raises UserError when threads are asked for after the backend has begun to compute.
    """

    def __init__(self, training: Mapping, store: Path | None = None):
        self.training, self.store = training, store
        self.backend = keras.backend.backend()
        self.threads = training["threads"] or joblib.cpu_count()
        self.device = _SET_UP[self.backend](self.threads, training["deterministic"])
        self.chosen = {
            "backend": self.backend,
            "device": self.device,
            "threads": self.threads,
            "predict_dtype": training["predict_dtype"],
            "deterministic": training["deterministic"],
        }

    def xla(self, network: str, steps: int, speed: Callable[[bool], float]) -> bool:
        """Whether to compile a step of training with XLA.

        network : name and size of what is trained; steps : that lie ahead; speed : XLA on? ->
        windows/s
        """
        wish = self.training["xla"]
        if self.backend != "tensorflow":  # JAX knows nothing else, PyTorch is not compiled
            xla, why = self.backend == "jax", {}
        elif wish != "auto":
            xla, why = wish == "on", {}
        else:
            xla, why = self._best(f"XLA for {network}", (False, True), speed, steps >= STEPS)
            xla = self.device != "cpu" if xla is None else xla
        self.chosen |= {"xla": xla, "xla_windows_per_second": why}
        return xla

    def predict_windows(self, network: str, windows: int, speed: Callable[[int], float]) -> int:
        """Windows per step of prediction.

        windows : to predict; speed : windows per step -> windows/s
        """
        size, why = self.training["predict_windows"], {}
        if not size:
            long = windows >= WINDOWS
            size, why = self._best(f"windows per prediction of {network}", SIZES, speed, long)
        self.chosen |= {"predict_windows": size or 256, "predict_windows_per_second": why}
        return self.chosen["predict_windows"]

    def told(self) -> str:
        """What was chosen, in a line."""
        found = self.chosen
        parts = [f"{found['backend']} on {found['device']}", f"{found['threads']} threads"]
        if "xla" in found:
            speeds = found["xla_windows_per_second"]
            on = f" (on: {speeds['True'] / speeds['False']:.2f} times as fast)" if speeds else ""
            parts.append(f"XLA {'on' if found['xla'] else 'off'}{on}")
        if "predict_windows" in found:
            parts.append(f"predicting {found['predict_windows']} windows at a time")
        parts.append(f"predictions in {found['predict_dtype']}")
        if found["deterministic"]:
            parts.append("deterministic")
        return "computing with " + ", ".join(parts)

    def _best(self, what: str, candidates: Iterable, speed: Callable, worth: bool) -> tuple:
        """The fastest candidate and the speed of each; (None, {}) if it is not worth measuring."""
        version = importlib.metadata.version(self.backend)
        key = f"{self.backend} {version}, {self.device} {_processor()}, {self.threads} threads"
        known = (artefacts.read_json(self.store, AGAIN) or {}) if self.store else {}
        found = known.get(key, {}).get(what)
        if found is None and not worth:
            return None, {}
        if found is None:
            say(f"measuring once for this machine: {what}")
            found = {str(candidate): round(speed(candidate), 1) for candidate in candidates}
            if self.store:
                self.store.parent.mkdir(parents=True, exist_ok=True)
                known.setdefault(key, {})[what] = found
                artefacts.write_json(self.store, known)
        return max(candidates, key=lambda candidate: found.get(str(candidate), 0)), found


def speed_of(step: Callable[[], object], windows: int, seconds: float = 1.0) -> float:
    """Windows/s of a step of so many windows, after a first one that compiles it."""
    step()
    took = []
    while not took or sum(took) < seconds:
        began = time.perf_counter()
        step()
        took.append(time.perf_counter() - began)
    return windows / min(took)


def for_prediction(model: keras.Model, dtype: str) -> keras.Model:
    """The model, or a copy whose convolutions and dense layers multiply in bfloat16.

    dtype : "float32" or "bfloat16"; outputs of the copy differ by some thousandths of their range
    """
    if dtype == "float32":
        return model
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for layer in copy._flatten_layers(include_self=False):
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
            layer.dtype_policy = "mixed_bfloat16"
    return copy


def _tensorflow(threads: int, deterministic: bool) -> str:
    import tensorflow as tf

    # 0 there means all processors of the machine, also those that a cluster gave to others
    if (tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count()) != threads:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        except RuntimeError as error:
            raise UserError(
                f"threads can be set once per process; this one computes already: {error}"
            ) from error
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "cpu"
    return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "gpu")


def _jax(threads: int, deterministic: bool) -> str:
    import jax

    if deterministic and "xla_gpu_deterministic_ops" not in os.environ.get("XLA_FLAGS", ""):
        if jax.default_backend() == "gpu":
            raise UserError(
                "--deterministic on a GPU with JAX needs, before the start,\n"
                "  export XLA_FLAGS=--xla_gpu_deterministic_ops=true"
            )
    device = jax.devices()[0]
    return "cpu" if device.platform == "cpu" else device.device_kind


def _torch(threads: int, deterministic: bool) -> str:
    import torch

    torch.set_num_threads(threads)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


_SET_UP = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}


def _processor() -> str:
    """The name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
