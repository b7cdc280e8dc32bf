"""Import Keras with the backend of KERAS_BACKEND and the number format of this suite."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os

from lib.console import native_messages_aside
from lib.errors import UserError

BACKENDS = {  # name -> its requirements
    "tensorflow": "requirements.txt",
    "jax": "requirements/jax.txt",
    "torch": "requirements/torch.txt",
}


def import_keras() -> None:
    """Import Keras and its backend without the start-up notices of the native libraries."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow does not use its fast CPU kernels on a machine without AVX-512
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with native_messages_aside():
        _import_backend()
        with contextlib.suppress(ImportError):
            # if TensorFlow is installed, Keras imports it on any backend, to seed it too
            importlib.import_module("tensorflow")


def _import_backend() -> None:
    """Import Keras, whatever the user's keras.json says; UserError when that is not possible."""
    backend = os.environ["KERAS_BACKEND"]  # lib/__init__.py sets it if it is not set
    if backend not in BACKENDS:
        raise UserError(
            f"KERAS_BACKEND is {backend!r}: it must be one of {', '.join(BACKENDS)}, or unset"
        )
    if importlib.util.find_spec(backend) is None:
        raise UserError(
            f"KERAS_BACKEND is {backend}, which is not installed: pip install -r "
            f"{BACKENDS[backend]}, or unset it"
        )
    try:
        keras = importlib.import_module("keras")
    except (AssertionError, AttributeError, TypeError, ValueError) as error:
        raise UserError(
            f"Keras cannot be imported ({str(error)[:120]}): correct its file keras.json, in "
            "~/.keras or in the folder KERAS_HOME, or remove it"
        ) from error
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_epsilon(1e-7)
