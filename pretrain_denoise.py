"""Pretrain the SCAE, a sparse convolutional denoising autoencoder, on speech, without labels.

    python3 pretrain_denoise.py -s e -mod model_over                    English, one run
    python3 pretrain_denoise.py -s x -mod model_over --iterations 4     mixture, four runs
    python3 pretrain_denoise.py -s m -mod model_over --epochs 10 --set pretrain.batch_windows=64
    python3 pretrain_denoise.py -s e -mod model_over_mask               hidden patches
    python3 pretrain_denoise.py -m e -mod model_over_mask               music, without its labels

Reads <path_to_data>/features/{speech,music}/<language>/ (made by generate_dataset.py) and writes
models/{speech,music}/<language>/<model>.it_<n>/.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also with PYTHONSAFEPATH

from lib.command_line import stage_scripts
from lib.errors import guard


@guard
def main(argv=None) -> int:
    return stage_scripts.pretraining(__doc__, "denoise", argv)


if __name__ == "__main__":
    sys.exit(main())
