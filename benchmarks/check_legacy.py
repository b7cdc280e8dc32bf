"""Check that a released model gives the outputs of Keras 2: prints the largest difference per task.

    python3 benchmarks/check_legacy.py FILE.hdf5 FILE.expected.npz

FILE.expected.npz has inputs x0 : (n, 1, 128, 31) and outputs y0 (quadrants), y1 (arousal), y2
(valence). Exit status 1 if an output differs by more than 1e-4.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lib import keras_backend


def main(argv=None) -> int:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("model", type=Path)
    p.add_argument("expected", type=Path)
    args = p.parse_args(argv)
    keras_backend.import_keras()
    from lib.models import keras2_files

    expected = np.load(args.expected)
    model = keras2_files.load(args.model, classifier=True)
    found = model.predict(expected["x0"].transpose(0, 2, 3, 1), verbose=0)
    worst = 0.0
    for number, (task, values) in enumerate(found.items()):
        off = float(np.abs(values - expected[f"y{number}"]).max())
        worst = max(worst, off)
        print(f"{task}: {len(values)} windows, off by at most {off:.1e}")
    return int(worst > 1e-4)


if __name__ == "__main__":
    sys.exit(main())
