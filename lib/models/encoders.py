"""Every encoder with random weights, by the name of its model."""

from __future__ import annotations

import keras

from lib.configuration import Settings
from lib.models import cnn, cpc, framewise_encoder, scae


def build(model: str, settings: Settings) -> keras.Model:
    """The encoder of `model`, (batch, n_mels, window_frames, 1) -> (batch, d), as settings say."""
    features, network = settings["features"], settings["network"]
    size = {"n_mels": features["n_mels"], "frames": features["window_frames"]}
    light = {**settings["framewise"], "dropout": network["dropout"]}
    builders = {
        "model_over": lambda: scae.build_encoder(**size, **network),
        "model_cpc": lambda: cpc.build_encoder(**size, **network, code=settings["cpc"]["code"]),
        "model_cnn": lambda: cnn.build_encoder(**size, **network),
        "model_over_mask": lambda: framewise_encoder.build_encoder(**size, **light),
        "model_cpc_nce": lambda: framewise_encoder.build_encoder(**size, **light),
    }
    return builders[model]()


def section(model: str) -> str:
    """The section of the settings that tells the size of the encoder, beside `network`."""
    return {"model_cpc": "cpc", "model_over_mask": "framewise", "model_cpc_nce": "framewise"}.get(
        model, "network"
    )
