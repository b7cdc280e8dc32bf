"""Write small synthetic corpora in the layouts of the real ones: speech-like sound in English and
Mandarin, and music-like clips of 4Q-Emotion and CH-818 with an audible quadrant.

    python3 make_demo_data.py --out demo/data
    python3 make_demo_data.py --out demo/data --seed 1 --overwrite
    python3 make_demo_data.py --out demo/large --speech-minutes 10 --clips-per-quadrant 30

A complete demo is left as it is. --overwrite makes it again, and replaces only files that this
command has made. The same arguments give the same samples.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also with PYTHONSAFEPATH

from lib.command_line import flags
from lib.errors import guard


def parse_args(argv=None):
    p = flags.plain_parser(__doc__)
    add = p.add_argument
    add("--out", type=Path, required=True, help="folder of the demo")
    add("--seed", type=int, default=0, help="seed of all random draws (default: 0)")
    add("--speech-minutes", type=float, default=1.5, help="minutes per language (default: 1.5)")
    add("--clips-per-quadrant", type=int, default=20, help="clips per music corpus (default: 20)")
    add("--clip-seconds", type=float, default=5.0, help="seconds of a clip (default: 5)")
    add("--overwrite", action="store_true", help="replace a demo made by this command")
    return p.parse_args(argv)


@guard
def main(argv=None) -> int:
    args = parse_args(argv)
    from lib.corpora.synthetic.corpora import Sizes, make_demo

    sizes = Sizes(args.seed, args.speech_minutes, args.clips_per_quadrant, args.clip_seconds)
    corpora, made = make_demo(args.out, sizes, args.overwrite)
    if not made:
        print(f"{args.out} already has the complete demo: left as it is")
    for corpus in corpora:
        place = args.out / corpus["folder"]
        print(f"{place}: {corpus['recordings']} recordings, {corpus['minutes']:.2f} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
