"""musicnn: music tagging networks (Pons 2019), trained on MagnaTagATune (MTT) or the Million Song
Dataset (MSD). A code is the penultimate layer, with 200 values per patch of 3 s.

The package (ISC licence) holds TensorFlow 1 checkpoints and requires packages of 2019. Only its
files are used: the stored part of the graph that computes the code.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from lib import keras_backend
from lib.configuration import Settings
from lib.datasets.codes_file import About
from lib.embedding.encoder import Encode, Encoder
from lib.embedding.encoders.mel_power import mel_power
from lib.errors import UserError
from lib.features.audio_decoding import Sound
from lib.features.log_mel import cut

MODELS = {"MTT": "MagnaTagATune", "MSD": "Million Song Dataset"}
# from the package's configuration.py and config.json
RATE, N_FFT, HOP, N_MELS, PATCH = 16_000, 512, 256, 96, 187
SIZE = 8  # patches per step: a clip of 30 s has 10
INPUT, TRAINING = "model/Placeholder:0", "model/Placeholder_2:0"
CODE = "model/batch_normalization_10/batchnorm/add_1"  # "penultimate" of the package's extractor


def encoder(name: str, settings: Settings) -> Encoder:
    """name : "MTT", "MSD", or "" for the codes of both, concatenated; UserError otherwise."""
    if name and name not in MODELS:
        known = ", ".join(f"musicnn:{model}" for model in MODELS)
        raise UserError(f"musicnn has no model {name!a}: expected {known}, or musicnn for both")
    models = [name] if name else list(MODELS)
    about = About(
        name="_".join(["musicnn", *models]).lower(),
        title=f"musicnn {' + '.join(models)} (music tags)",
        encoder_version=f"musicnn {importlib.metadata.version('musicnn')}",
        licence="ISC",
        description="penultimate layer of musicnn, trained to tag the "
        f"{' and the '.join(MODELS[model] for model in models)}, per patch of 3 s",
        per="window",
    )
    return Encoder(about, RATE, partial(load, models), hop=PATCH * HOP / RATE)


def load(models: list[str]) -> Encode:
    """Load the networks; their codes are concatenated."""
    networks = [_network(model) for model in models]

    def encode(sound: Sound) -> Iterator[np.ndarray]:
        mel = mel_power(sound.blocks(), RATE, n_fft=N_FFT, hop=HOP, n_mels=N_MELS)
        frames = (np.log10(10_000 * block + 1) for block in mel)
        for windows in cut(frames, PATCH, PATCH, size=SIZE):
            patches = windows[..., 0].transpose(0, 2, 1)
            yield np.concatenate([network(patches) for network in networks], axis=1)

    return encode


def _network(model: str) -> Callable[[np.ndarray], np.ndarray]:
    """Patches : float32 (n, 187, 96) -> codes : float32 (n, 200)."""
    keras_backend.import_keras()  # and TensorFlow, quietly
    import tensorflow as tf

    folder = Path(importlib.util.find_spec("musicnn").origin).parent / f"{model}_musicnn"
    stored = tf.compat.v1.MetaGraphDef.FromString((folder / ".meta").read_bytes())
    restore = stored.saver_def
    needed = tf.compat.v1.graph_util.extract_sub_graph(
        stored.graph_def, [CODE, restore.restore_op_name]
    )
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(needed, name="")
    session = tf.compat.v1.Session(graph=graph)
    session.run(restore.restore_op_name, {restore.filename_tensor_name: f"{folder}/"})
    return lambda patches: session.run(f"{CODE}:0", {INPUT: patches, TRAINING: False})
