"""`python3 -m lib.legacy FILE.hdf5 OUT/` converts a released model (lib.models.keras2_files)."""

import sys

from lib.models.keras2_files import main

if __name__ == "__main__":
    sys.exit(main())
