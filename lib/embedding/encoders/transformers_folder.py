"""Use a sound model of the transformers package, such as wav2vec2 or HuBERT, from a local folder.

A code is the mean of the last hidden state over 5 s. Nothing is downloaded, and no program
in the folder runs: weights are read only from safetensors files.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import joblib
import numpy as np

from lib.artefacts import files
from lib.configuration import Settings
from lib.datasets.codes_file import About
from lib.embedding.encoder import Encode, Encoder, name_from, title_from
from lib.errors import UserError
from lib.features.audio_decoding import Sound, UnusableRecording

WINDOW = 5.0  # s [ours]: the cost of attention grows with its square
SHORTEST = 1.0  # s of the last window [ours]; a shorter rest is not used
SIZE = 4  # windows per step [ours]
NEEDED = ("config.json", "preprocessor_config.json", "*.safetensors")


def encoder(folder: str, settings: Settings) -> Encoder:
    """folder : holds config.json, preprocessor_config.json and weights as *.safetensors.

    Raises UserError when one of them is missing, or when transformers cannot load a sound model.
    """
    place = Path(folder).resolve()
    lacking = [name for name in NEEDED if not (folder and any(place.glob(name)))]
    if lacking:
        raise UserError(
            f"hub:{folder} lacks {', '.join(lacking)}: expected a local folder of a model, as "
            "`hf download` makes it"
        )
    extractor, model = _load(place)
    rate = extractor.sampling_rate
    about = About(
        name=name_from(place.name),
        title=title_from(place.name),
        encoder_version=f"transformers {importlib.metadata.version('transformers')}, "
        f"SHA-256 {_hash(place)}",
        licence=_licence(place),
        description=f"{type(model).__name__}, mean of the last hidden state over each {WINDOW:g} s",
        per="window",
    )
    return Encoder(about, rate, lambda: _encode(extractor, model), hop=WINDOW)


def _load(place: Path) -> tuple:
    """Load the feature extractor and the model of a folder."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(joblib.cpu_count())
    try:
        extractor = transformers.AutoFeatureExtractor.from_pretrained(
            place, local_files_only=True, trust_remote_code=False
        )
        model = transformers.AutoModel.from_pretrained(
            place, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    except Exception as error:  # transformers raises errors of many types for foreign folders
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{place} cannot be loaded: {reason[:300]}; expected a model that transformers knows "
            "without code of its own"
        ) from error
    if model.main_input_name != "input_values" or not hasattr(extractor, "sampling_rate"):
        raise UserError(
            f"{place} holds {type(model).__name__}, which takes {model.main_input_name}: expected "
            "a model of sound that takes samples, such as wav2vec2 or HuBERT"
        )
    return extractor, model.eval()


def _encode(extractor, model) -> Encode:
    import torch

    rate = extractor.sampling_rate

    def encode(sound: Sound) -> Iterator[np.ndarray]:
        if sound.seconds < SHORTEST:
            raise UnusableRecording(f"too short: {sound.seconds:.2f} of {SHORTEST:g} s")
        blocks = sound.blocks(round(WINDOW * rate))
        for windows in _alike(block for block in blocks if len(block) >= SHORTEST * rate):
            inputs = extractor(windows, sampling_rate=rate, return_tensors="pt")
            with torch.no_grad():
                hidden = model(inputs[model.main_input_name]).last_hidden_state
            yield hidden.mean(dim=1).float().numpy()

    return encode


def _alike(blocks: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Yield up to SIZE blocks at a time, all of the same length."""
    batch: list[np.ndarray] = []
    for block in blocks:
        if batch and (len(batch) == SIZE or len(block) != len(batch[0])):
            yield batch
            batch = []
        batch.append(block)
    if batch:
        yield batch


def _hash(place: Path) -> str:
    """Hash all files that determine the codes."""
    paths = sorted(path for name in NEEDED for path in place.glob(name))
    return hashlib.sha256("".join(map(files.file_hash, paths)).encode()).hexdigest()


def _licence(place: Path) -> str:
    """Return the licence that the model card states."""
    card = place / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    stated = re.search(r"(?m)\A---\n(?:.*\n)*?license: *(\S+)", text)
    return stated[1] if stated else "not stated in its folder"
