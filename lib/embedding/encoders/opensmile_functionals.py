"""openSMILE: functionals of low-level descriptors, one vector per recording (Eyben 2010).

ComParE_2016 has 6373 values (Schuller 2016), eGeMAPSv02 88 (Eyben 2016). openSMILE corrupts memory
in a process that has loaded TensorFlow, so it runs in worker processes without TensorFlow.
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Iterator
from functools import partial

import numpy as np

from lib.configuration import Settings
from lib.datasets.codes_file import About
from lib.embedding.encoder import Encode, Encoder, name_from
from lib.errors import UserError
from lib.features.audio_decoding import Sound, UnusableRecording

TITLES = {"ComParE_2016": "openSMILE ComParE 2016", "eGeMAPSv02": "openSMILE eGeMAPS v02"}
RATE = 16_000  # Hz, the rate of the speech that both sets were made for
LONGEST = 120  # s at a time [ours]: openSMILE keeps every frame of its input in memory
# a sample of 1 would be 32768, too large for 16 bits: openSMILE's package would wrap it to -32768
FULL_SCALE = np.float32(32767 / 32768)


def encoder(feature_set: str, settings: Settings) -> Encoder:
    """feature_set : "ComParE_2016" or "eGeMAPSv02"; UserError otherwise."""
    if feature_set not in TITLES:
        known = " or ".join(f"opensmile:{name}" for name in TITLES)
        raise UserError(f"opensmile has no feature set {feature_set!a} here: expected {known}")
    version = importlib.metadata.version("opensmile")
    about = About(
        name=name_from(f"opensmile_{feature_set}"),
        title=TITLES[feature_set],
        encoder_version=f"opensmile {version}, {feature_set}",
        licence="audEERING Research License: no commercial use",
        description=f"openSMILE functionals {feature_set} of the recording; of one longer than "
        f"{LONGEST} s the mean over equal parts",
        per="recording",
    )
    return Encoder(about, RATE, partial(load, feature_set), processes=True)


def load(feature_set: str) -> Encode:
    """Load the extractor of a feature set."""
    import opensmile

    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet[feature_set],
        feature_level=opensmile.FeatureLevel.Functionals,
    )

    def encode(sound: Sound) -> Iterator[np.ndarray]:
        parts = math.ceil(sound.seconds / LONGEST)
        total = np.zeros(smile.num_features)
        for samples in sound.blocks(math.ceil(sound.samples / parts)):
            values = smile.process_signal(samples * FULL_SCALE, RATE).to_numpy()
            total += values[0].astype(np.float64) / parts
        if np.isnan(total).all():
            raise UnusableRecording(f"too short for openSMILE: {sound.seconds:.2f} s")
        yield total[None].astype(np.float32)

    return encode
