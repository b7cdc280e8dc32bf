"""Set up how this machine computes networks: threads, device, XLA, windows per prediction.

Only the settings and the hardware decide these. Nothing depends on measured speed, so a result does
not depend on the load of the machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import joblib
import keras

from lib.errors import UserError


class Machine:
    """This machine, as the backend sees it.

    training : section `training` of the settings

    Raises UserError when threads are set after the backend has started to compute.
    """

    def __init__(self, training: Mapping):
        backend = keras.backend.backend()
        threads = training["threads"] or joblib.cpu_count()
        device = _SET_UP[backend](threads, training["deterministic"])
        self.xla = backend == "jax"  # JAX always uses XLA; PyTorch is not compiled
        if backend == "tensorflow":
            self.xla = {"on": True, "off": False, "auto": device != "cpu"}[training["xla"]]
        self.predict_windows = training["predict_windows"]
        self.execution = {
            "backend": backend,
            "device": device,
            "threads": threads,
            "xla": self.xla,
            "predict_windows": self.predict_windows,
            "predict_dtype": training["predict_dtype"],
            "deterministic": training["deterministic"],
        }

    def description(self) -> str:
        """How this machine computes, in one line."""
        line = (
            "computing with {backend} on {device}, {threads} threads, XLA {xla}, predictions in "
            "{predict_dtype}"
        ).format_map(self.execution | {"xla": "on" if self.xla else "off"})
        return line + (", deterministic" if self.execution["deterministic"] else "")


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

    # TensorFlow returns 0 for all processors of the machine; a cluster may have given some of them
    # to other jobs
    if (tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count()) != threads:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        except RuntimeError as error:
            raise UserError(
                f"threads can be set once per process, and this one already computes: {error}"
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
