"""Transfer the CPC encoder from speech to music, and score it on the test clips.

    python3 trans_train_cpc_multi.py -s e -m m -mod model_cpc -rel n    encoder frozen
    python3 trans_train_cpc_multi.py -s x -m e -mod model_cpc -rel y    encoder released
    python3 trans_train_cpc_multi.py -s n -m e -mod model_cpc_nce -rel y    from scratch
    python3 trans_train_cpc_multi.py -s u -m e -mod model_cpc_nce -rel n --probe
    python3 trans_train_cpc_multi.py -s FILE.codes -m e -rel n    codes of any other encoder

Needs the pretrained encoder (models/speech/…) and the music data set. Writes
models_trans/speech_<l>_2_music_<l>/<model>[.feat_ext|.full].it_<n>/ with model and test results.
-rel y continues from the finished -rel n run, or trains that step first.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also with PYTHONSAFEPATH

from lib.command_line import stage_scripts
from lib.errors import guard


@guard
def main(argv=None) -> int:
    return stage_scripts.transfer(__doc__, "cpc", argv)


if __name__ == "__main__":
    sys.exit(main())
