"""Define an encoder for the embedding stage."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from lib.datasets.codes_file import About
from lib.features.audio_decoding import Sound

# a decoded recording -> its codes : float32 (n, d), in blocks of any size
Encode = Callable[[Sound], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Encoder:
    """An encoder of sound.

    about     : metadata for its codes file; about.per says: one code per window or per recording
    rate      : Hz of its input samples, which are mono and divided by their peak
    load      : prepares it, in the process that computes
    hop       : seconds from one window to the next; None: codes are evenly spaced in a recording
    processes : encode in worker processes, for an encoder that uses one core or cannot share a
                process with TensorFlow; `load` must be a module's function, or a partial of one
    """

    about: About
    rate: int
    load: Callable[[], Encode]
    hop: float | None = None
    processes: bool = False

    def start_seconds(self, codes: int, seconds: float) -> np.ndarray | None:
        """Where the windows of a recording of `seconds` start : float32 (codes,); None if
        codes are per recording."""
        if self.about.per == "recording":
            return None
        hop = seconds / codes if self.hop is None else self.hop
        return (np.arange(codes) * hop).astype(np.float32)


def name_from(text: str) -> str:
    """Turn a text into a name of codes: up to 60 of a-z, 0-9 and _."""
    return re.sub("[^a-z0-9]+", "_", text.lower()).strip("_")[:60] or "codes"


def title_from(text: str) -> str:
    """Turn a text into a title of codes: up to 60 letters, digits, spaces and . , : + ( ) _ -"""
    return re.sub(r"[^\w .,:+()-]+", " ", text)[:60].strip() or "codes"
