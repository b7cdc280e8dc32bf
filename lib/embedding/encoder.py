"""What the embedding stage knows of an encoder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from lib.datasets.codes_file import About
from lib.features.audio_decoding import Sound

# a decoded recording -> its codes : float32 (n, d), in blocks, which may be of any size
Encode = Callable[[Sound], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Encoder:
    """An encoder of sound.

    about     : what its codes file says of it; per recording it gives one code, else one per window
    rate      : Hz of the samples that it takes: mono, divided by their peak
    load      : makes it ready, in the process that computes
    hop       : seconds from one window to the next; None: codes lie evenly over a recording
    processes : recordings are encoded in worker processes: it uses one core, or bears no TensorFlow
                beside it. `load` is then a function of a module, or a functools.partial of one
    """

    about: About
    rate: int
    load: Callable[[], Encode]
    hop: float | None = None
    processes: bool = False

    def start_seconds(self, codes: int, seconds: float) -> np.ndarray | None:
        """Where the windows of a recording of `seconds` start : float32 (codes,); None per
        recording."""
        if self.about.per == "recording":
            return None
        hop = seconds / codes if self.hop is None else self.hop
        return (np.arange(codes) * hop).astype(np.float32)


def name_from(text: str) -> str:
    """A text as the name of codes: up to 60 of a-z, 0-9 and _."""
    return re.sub("[^a-z0-9]+", "_", text.lower()).strip("_")[:60] or "codes"


def title_from(text: str) -> str:
    """A text as the title of codes: up to 60 letters, digits, spaces and . , : + ( ) _ -"""
    return re.sub(r"[^\w .,:+()-]+", " ", text)[:60].strip() or "codes"
