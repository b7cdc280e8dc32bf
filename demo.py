"""Run all stages on small synthetic corpora, in a few minutes.

    make demo                  # or, with requirements/workflow.txt installed:
    python3 demo.py

Runs the target `demo` of the Snakefile: corpora, data sets, pretraining, frozen and released
transfer, tables. It prints a line per finished stage, and predicts a clip at the end. After a
kill, the same command resumes. All files are in demo/, the log in demo/logs/snakemake.txt.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also with PYTHONSAFEPATH

from lib.command_line import flags
from lib.errors import guard


@guard
def main(argv=None) -> int:
    flags.plain_parser(__doc__).parse_args(argv)

    from lib.experiments import demo

    demo.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
