"""The emotion of sound files: windows, clip and tag-gram, for any number of files with one model.

    from lib.prediction import Predictor, predict_file
    table = predict_file("song.mp3")                  # pandas, with the model of the suite
    emotion = Predictor.load("models_trans/speech_eng_2_music_eng/model_over.full.it_0")
    table, summary = emotion.table("song.mp3"), emotion.predict("song.mp3").summary

A window's row: start_seconds, end_seconds; p_<task>_<class>, the probability of each class; the
likeliest quadrant; arousal and valence = p(positive) - p(negative), from -1 (surely negative) to 1
(surely positive). A clip's probabilities are the mean over its windows, its quadrant, arousal and
valence follow from those. With several models, probabilities are averaged first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from lib import configuration
from lib.artefacts import run_record
from lib.errors import UserError
from lib.evaluation.predictions_table import columns_of
from lib.features import audio_decoding
from lib.labels import QUADRANTS, TASKS
from lib.models import saved_models
from lib.models.saved_models import Classifier

SIZE = 32  # windows per step: as fast as more (docs/RESULTS.md); a clip of 30 s fills one
POINTS = 1500  # of the waveform in a figure


@dataclass(frozen=True)
class Prediction:
    """What is predicted for one file.

    table    : a row per window, as told at the top of this file
    summary  : of the clip, for JSON: seconds (used), promised_seconds (more where the file is cut
               short), windows, quadrant, p_quadrants, arousal, valence, …
    envelope : float32 (points, 2), lowest and highest sample along the file, in [-1, 1]
    """

    table: pd.DataFrame
    summary: dict
    envelope: np.ndarray


@dataclass(frozen=True)
class Predictor:
    """One or several classifiers, loaded once.

    classifiers : their probabilities are averaged
    hop         : frames between windows
    """

    classifiers: tuple[Classifier, ...]
    hop: int

    @classmethod
    def load(
        cls, *models: str | Path, hop: float | None = None, features: Mapping | None = None
    ) -> Predictor:
        """Load classifiers, as of saved_models.classifier; without any, the one of the suite.

        Parameters
        ----------
        hop : seconds between windows, rounded to frames; None: as long as a window, so that they
            do not overlap (as in the authors' predictor)
        features : feature settings of .keras files that lie in no run directory; None: settings.py

        Raises UserError when a model cannot be used, or when they are of different features.
        """
        features = features or configuration.load()["features"]
        paths = [Path(model) for model in models] or [saved_models.SHIPPED]
        found = tuple(saved_models.classifier(path, features) for path in paths)
        first = found[0].features
        for other in found[1:]:
            differ = run_record.differences(first, other.features)
            if differ:
                raise UserError(f"{other.path} is of other features ({'; '.join(differ)})")
        frame = first["hop_length"] / first["sample_rate"]
        frames = first["window_frames"] if hop is None else max(1, round(hop / frame))
        return cls(found, frames)

    @property
    def features(self) -> Mapping:
        return self.classifiers[0].features

    @property
    def frame(self) -> float:
        """Seconds from one frame to the next."""
        return self.features["hop_length"] / self.features["sample_rate"]

    @property
    def identity(self) -> dict:
        """All that decides a prediction, besides the file."""
        return {
            "models": [str(one.path) for one in self.classifiers],
            "sha256": [one.sha256 for one in self.classifiers],
            "hop_seconds": round(self.hop * self.frame, 6),
            "window_seconds": round(self.features["window_frames"] * self.frame, 6),
        }

    def table(self, path: str | Path) -> pd.DataFrame:
        """The windows of a sound file; UnusableRecording when it cannot be used."""
        return self.predict(path).table

    def predict(self, path: str | Path) -> Prediction:
        """All about a sound file of any length; UnusableRecording when it cannot be used."""
        length = self.features["window_frames"]
        with audio_decoding.decoded(path, self.features["sample_rate"]) as sound:
            parts = [
                self._probabilities(windows)
                for windows in cut(sound.frames(self.features), length, self.hop, SIZE)
            ]
            envelope, seconds, promised = sound.envelope(POINTS), sound.seconds, sound.promised
        found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        start = np.arange(len(found["quadrants"])) * self.hop * self.frame
        columns = {"start_seconds": start.round(3)}
        columns["end_seconds"] = np.minimum(start + length * self.frame, seconds).round(3)
        for task in TASKS:
            columns |= dict(zip(columns_of(task), found[task].T, strict=True))
        columns["quadrant"] = np.array(QUADRANTS)[found["quadrants"].argmax(axis=1)]
        for axis in ("arousal", "valence"):
            columns[axis] = found[axis][:, 1] - found[axis][:, 0]
        clip = {task: p.mean(axis=0, dtype=np.float64) for task, p in found.items()}
        summary = {
            "seconds": round(seconds, 3),
            "promised_seconds": round(promised, 3),
            "windows": len(start),
            "quadrant": QUADRANTS[int(clip["quadrants"].argmax())],
            "p_quadrants": dict(zip(QUADRANTS, clip["quadrants"].round(6).tolist(), strict=True)),
            "arousal": round(float(clip["arousal"][1] - clip["arousal"][0]), 6),
            "valence": round(float(clip["valence"][1] - clip["valence"][0]), 6),
        }
        return Prediction(pd.DataFrame(columns), summary, envelope)

    def _probabilities(self, windows: np.ndarray) -> dict[str, np.ndarray]:
        """Probabilities : {task: float32 (n, classes)} of windows (n, n_mels, length, 1)."""
        full = np.zeros((SIZE, *windows.shape[1:]), np.float32)  # one shape: traced once
        full[: len(windows)] = windows
        found = [one.model.predict_on_batch(full) for one in self.classifiers]
        return {
            task: np.mean([np.asarray(one[task])[: len(windows)] for one in found], axis=0)
            for task in TASKS
        }


def cut(frames: Iterable[np.ndarray], length: int, hop: int, size: int) -> Iterator[np.ndarray]:
    """Windows of frames that come in blocks : float32 (n, n_mels).

    Returns windows : float32 (up to size, n_mels, length, 1), `hop` frames apart, as many as fit.
    """
    rest, skip, ready = None, 0, []
    for block in frames:
        rest = block[skip:] if rest is None else np.concatenate([rest, block])[skip:]
        skip = max(0, skip - len(block))
        while len(rest) >= length:
            ready.append(rest[:length].T)
            skip = max(0, hop - len(rest))  # frames between two windows, where there are any
            rest = rest[hop:]
            if len(ready) == size:
                yield np.stack(ready)[..., None]
                ready = []
    if ready:
        yield np.stack(ready)[..., None]


@lru_cache(maxsize=1)
def _shipped() -> Predictor:
    return Predictor.load()


def predict_file(path: str | Path, predictor: Predictor | None = None) -> pd.DataFrame:
    """The emotion of a sound file over time.

    Parameters
    ----------
    path : of a sound file
    predictor : None takes the model that comes with the suite

    Returns a row per window, as told at the top of this file. Raises UnusableRecording, with the
    reason, when the file cannot be decoded, is silent or shorter than a window.
    """
    return (predictor or _shipped()).table(path)
