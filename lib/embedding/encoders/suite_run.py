"""Use an encoder that this suite pretrained: a code per window, cut as for transfer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lib import keras_backend
from lib.artefacts import files
from lib.artefacts.run_name import RunName
from lib.configuration import Settings
from lib.datasets.codes_file import About
from lib.embedding.encoder import Encoder, name_from, title_from
from lib.errors import UserError
from lib.features.audio_decoding import Sound
from lib.features.log_mel import cut
from lib.models import catalogue

SIZE = 32  # windows per step: as fast as more (docs/benchmarks.md); a clip of 30 s fills two


def encoder(run: str, settings: Settings) -> Encoder:
    """run : directory of a pretraining run; UserError as for saved_models.load_encoder."""
    name = RunName.parse(Path(run).resolve())
    if name is None or name.mode != "pretrain":
        raise UserError(
            f"{run} is not a pretraining run: expected run:models/speech/<language>/<model>.it_<n>"
        )
    keras_backend.import_keras()
    from lib.models import saved_models
    from lib.training.hardware import Machine

    Machine(settings["training"])  # sets the number of threads
    features = settings["features"]
    model, path = saved_models.load_encoder(
        Path(run),
        model=name.model,
        iteration=name.iteration,
        features=features,
        command=f"the command that makes {name}",
    )
    length, hop = features["window_frames"], features["window_hop"]
    about = About(
        name=name_from(str(name).removeprefix("models/")),
        title=title_from(f"{catalogue.title(name.model)} ({name.title})"),
        encoder_version=f"SHA-256 {files.file_hash(path)}",
        licence="that of its weights, which were trained here",
        description=f"encoder of {name}, per window of {length} log-mel frames, {hop} apart",
        per="window",
    )

    def encode(sound: Sound) -> Iterator[np.ndarray]:
        for windows in cut(sound.frames(features), length, hop, size=SIZE):
            full = np.zeros((SIZE, *windows.shape[1:]), np.float32)  # one shape: traced once
            full[: len(windows)] = windows
            yield np.asarray(model.predict_on_batch(full))[: len(windows)]

    seconds = hop * features["hop_length"] / features["sample_rate"]
    return Encoder(about, features["sample_rate"], lambda: encode, hop=seconds)
