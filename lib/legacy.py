"""Convert the authors' released models, Keras 2 files, to run directories of this suite.

    python3 -m lib.legacy FILE.hdf5 OUT/

OUT/ then holds model.keras for a transferred model (models_trans/…), encoder.keras for a pretrained
one (models/…). The conversion is not required: predict.py reads transferred models, and the
transfer scripts read pretrained ones, in the places where the authors' archives put them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from lib import console, keras_backend
from lib.artefacts import files, run_record
from lib.errors import UserError, guard


def convert(path: Path, out: Path) -> None:
    """Write a released model as a new run directory `out`; UserError if that exists."""
    from lib.models import keras2_files, released_models

    began = time.time()
    if out.exists():
        raise UserError(f"{out} is there already: name a new folder")
    model = keras2_files.load(path)
    name = "model.keras" if isinstance(model.output, Mapping) else "encoder.keras"
    inputs = {
        "legacy": path.name,
        "sha256": files.file_hash(path),
        "features": released_models.FEATURES,
    }
    with files.locked(out), files.whole_folder(out) as new:
        model.save(new / name)
        run_record.write_run(new, inputs, {}, execution={}, began=began)
    console.say(f"{out}: {name}, run.json")


@guard
def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(
        "python3 -m lib.legacy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("file", type=Path, metavar="FILE.hdf5", help="a released model")
    p.add_argument("out", type=Path, metavar="OUT", help="new folder for the converted model")
    args = p.parse_args(argv)
    keras_backend.import_keras()
    convert(args.file, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
