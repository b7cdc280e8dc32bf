"""Resemblyzer: a speaker recognition network (Wan 2018, GE2E), trained on English speech.

A code has 256 values per 1.6 s of sound, cut as in the package's `embed_utterance`. The package
(Apache 2.0) imports webrtcvad to remove silence. These codes keep silence: only the package's
weights are used.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lib.configuration import Settings
from lib.datasets.codes_file import About
from lib.embedding.encoder import Encode, Encoder
from lib.embedding.encoders.mel_power import mel_power
from lib.errors import UserError
from lib.features.audio_decoding import Sound
from lib.features.log_mel import cut

# from the package's hparams.py; in samples, except PARTIAL and STEP (frames)
RATE, N_FFT, HOP, N_MELS, UNITS, PARTIAL = 16_000, 400, 160, 40, 256, 160
STEP = 77  # frames between partials: 1.3 of them per second, the package's default
COVERAGE = 0.75  # share of the last partial that must be sound, also the package's default
SIZE = 32  # partials per step


def encoder(argument: str, settings: Settings) -> Encoder:
    if argument:
        raise UserError(f"resemblyzer has one network: expected no :{argument} after its name")
    about = About(
        name="resemblyzer",
        title="Resemblyzer (English speech, GE2E)",
        encoder_version=f"Resemblyzer {importlib.metadata.version('Resemblyzer')}",
        licence="Apache-2.0",
        description="speaker embedding of each 1.6 s, 0.77 s apart, silence included",
        per="window",
    )
    return Encoder(about, RATE, load, hop=STEP * HOP / RATE, processes=True)


def load() -> Encode:
    """Load the network and its weights; its steps are too small for several threads."""
    import torch

    torch.set_num_threads(1)
    lstm = torch.nn.LSTM(N_MELS, UNITS, num_layers=3, batch_first=True)
    linear = torch.nn.Linear(UNITS, UNITS)
    path = Path(importlib.util.find_spec("resemblyzer").origin).parent / "pretrained.pt"
    weights = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
    for name, layer in (("lstm.", lstm), ("linear.", linear)):
        named = {key.removeprefix(name): w for key, w in weights.items() if key.startswith(name)}
        layer.load_state_dict(named)

    def encode(sound: Sound) -> Iterator[np.ndarray]:
        samples = itertools.chain(sound.blocks(), [_padding(sound.samples)])
        frames = mel_power(samples, RATE, n_fft=N_FFT, hop=HOP, n_mels=N_MELS)
        for windows in cut(frames, PARTIAL, STEP, size=SIZE):
            with torch.no_grad():
                _, (hidden, _) = lstm(torch.from_numpy(windows[..., 0].transpose(0, 2, 1)))
                codes = torch.relu(linear(hidden[-1]))
                yield (codes / codes.norm(dim=1, keepdim=True)).numpy()

    return encode


def _padding(samples: int) -> np.ndarray:
    """Zeros that fill the last partial : float32 (n,); none if too little of it is sound."""
    step, length = STEP * HOP, PARTIAL * HOP
    last = max(0, -(-(samples - length) // step)) * step  # where the last partial starts
    if last and samples - last < COVERAGE * length:
        return np.zeros(0, np.float32)
    return np.zeros(max(0, last + length - samples), np.float32)
