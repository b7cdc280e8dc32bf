"""Pack log-mel frames in 16 bits, and hash them. Imports little: worker processes use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xxhash

from lib.features.log_mel import level_range


class Packing(NamedTuple):
    """How log-mel values are stored in 16 bits: value = offset + step * stored."""

    offset: float = 0.0
    step: float = 1.0

    @classmethod
    def of(cls, features: Mapping) -> Packing:
        """The finest packing for all values that sound can have with these feature settings."""
        low, high = level_range(features)
        return cls(low, (high - low) / np.iinfo(np.uint16).max)

    def pack(self, frames: np.ndarray) -> np.ndarray:
        """uint16, of the same shape."""
        stored = np.rint((frames - self.offset) / self.step)
        return stored.clip(0, np.iinfo(np.uint16).max).astype(np.uint16)

    def unpack(self, stored: np.ndarray) -> np.ndarray:
        """float32, of the same shape."""
        return stored.astype(np.float32) * np.float32(self.step) + np.float32(self.offset)


def digest(stored: np.ndarray) -> str:
    """XXH3-128 of a recording's stored frames: detects damage, and equal sound of two names."""
    return xxhash.xxh3_128_hexdigest(np.ascontiguousarray(stored).data)
