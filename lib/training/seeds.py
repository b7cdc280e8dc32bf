"""Seeds of independent runs."""

from __future__ import annotations

import numpy as np


def run_seed(seed: int, iteration: int) -> int:
    """The seed of one of several independent runs, derived from (seed, iteration)."""
    return int(np.random.SeedSequence([seed, iteration]).generate_state(1)[0])
