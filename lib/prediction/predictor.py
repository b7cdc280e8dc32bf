"""Predict the emotion of sound files with one or several models: windows, clip and tag-gram.

    from lib.prediction import Predictor, predict_file
    table = predict_file("song.mp3")                  # pandas, with the model of the suite
    emotion = Predictor.load("models_trans/speech_eng_2_music_eng/model_over.full.it_0")
    table, summary = emotion.table("song.mp3"), emotion.predict("song.mp3").summary

A row per window has start_seconds, end_seconds; p_<task>_<class>, the probability of each class;
the most likely quadrant; arousal and valence = p(positive) - p(negative), from -1 (certainly
negative) to 1 (certainly positive). A clip's probabilities are the mean over its windows; they give
its quadrant, arousal and valence. The probabilities of several models are averaged first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib import configuration
from lib.artefacts import run_record
from lib.errors import UserError
from lib.features import audio_decoding
from lib.features.log_mel import cut
from lib.labels import QUADRANTS, TASKS, columns_of
from lib.models import classifiers
from lib.models.classifiers import Classifier
from lib.prediction.in_order import CORES, in_order

if TYPE_CHECKING:
    import pandas as pd

POINTS = 1500  # of the waveform in a figure


@dataclass(frozen=True)
class Prediction:
    """The prediction for one file.

    columns  : {name: array (windows,)}; the docstring of this module lists them
    summary  : of the clip, for JSON: seconds (used), promised_seconds (larger if the file is cut
               short), windows, quadrant, p_quadrants, arousal, valence
    envelope : float32 (points, 2), lowest and highest sample over time, in [-1, 1]
    """

    columns: dict[str, np.ndarray]
    summary: dict
    envelope: np.ndarray

    @property
    def table(self) -> pd.DataFrame:
        """A row per window."""
        import pandas as pd  # takes a quarter of a second, and predict.py does not need it

        return pd.DataFrame(self.columns)

    def rows(self, digits: int) -> list[dict]:
        """A dict per window, for JSON, with rounded numbers."""
        values = [
            column.tolist() if column.dtype.kind == "U" else np.round(column, digits).tolist()
            for column in self.columns.values()
        ]
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*values, strict=True)]


@dataclass(frozen=True)
class Predictor:
    """One or several classifiers; their probabilities are averaged.

    hop  : frames between windows
    jobs : batches of windows at a time
    """

    classifiers: tuple[Classifier, ...]
    hop: int
    jobs: int = CORES

    @classmethod
    def load(
        cls, *models: str | Path, hop: float | None = None, features: Mapping | None = None
    ) -> Predictor:
        """Load classifiers, as classifiers.load does; the default is the one of the suite.

        hop : seconds between windows, rounded to frames; None: the length of a window, so that
            windows do not overlap (as in the authors' predictor)
        features : feature settings of .keras files outside a run directory; None: settings.py

        Raises UserError when a model cannot be used, or when the models use different features.
        """
        features = features or configuration.load()["features"]
        paths = [Path(model) for model in models] or [classifiers.SHIPPED]
        loaded = tuple(classifiers.load(path, features) for path in paths)
        for classifier in loaded[1:]:
            if differ := run_record.differences(classifier.features, loaded[0].features):
                raise UserError(f"{classifier.path} uses other features ({'; '.join(differ)})")
        predictor = cls(loaded, hop=loaded[0].features["window_frames"])
        if hop is None:
            return predictor
        return cls(loaded, hop=max(1, round(hop / predictor.frame)))

    @property
    def features(self) -> Mapping:
        return self.classifiers[0].features

    @property
    def frame(self) -> float:
        """Seconds from one frame to the next."""
        return self.features["hop_length"] / self.features["sample_rate"]

    @property
    def identity(self) -> dict:
        """Everything that a prediction depends on, except the file."""
        return {
            "models": [str(classifier.path) for classifier in self.classifiers],
            "sha256": [classifier.sha256 for classifier in self.classifiers],
            "hop_seconds": round(self.hop * self.frame, 6),
            "window_seconds": round(self.features["window_frames"] * self.frame, 6),
        }

    def table(self, path: str | Path) -> pd.DataFrame:
        """The windows of a sound file; UnusableRecording when it cannot be used."""
        return self.predict(path).table

    def predict(self, path: str | Path) -> Prediction:
        """Windows, clip and envelope of a sound file; UnusableRecording when it cannot be used."""
        length = self.features["window_frames"]
        with audio_decoding.decoded(path, self.features["sample_rate"]) as sound:
            batches = cut(sound.frames(self.features), length, self.hop, size=classifiers.BATCH)
            parts = list(in_order(self._probabilities, batches, self.jobs))
            envelope = sound.envelope(POINTS)
        windows = {task: np.concatenate([part[task] for part in parts]) for task in TASKS}
        start = np.arange(len(windows["quadrants"])) * self.hop * self.frame
        end = np.minimum(start + length * self.frame, sound.seconds)
        columns = {"start_seconds": start.round(3), "end_seconds": end.round(3)}
        for task in TASKS:
            columns |= dict(zip(columns_of(task), windows[task].T, strict=True))
        columns["quadrant"] = np.array(QUADRANTS)[windows["quadrants"].argmax(axis=1)]
        clip = {task: windows[task].mean(axis=0, dtype=np.float64) for task in TASKS}
        summary = {
            "seconds": round(sound.seconds, 3),
            "promised_seconds": round(sound.promised, 3),
            "windows": len(start),
            "quadrant": QUADRANTS[int(clip["quadrants"].argmax())],
            "p_quadrants": dict(zip(QUADRANTS, clip["quadrants"].round(6).tolist(), strict=True)),
        }
        for axis in ("arousal", "valence"):
            columns[axis] = windows[axis][:, 1] - windows[axis][:, 0]
            summary[axis] = round(float(clip[axis][1] - clip[axis][0]), 6)
        return Prediction(columns, summary, envelope)

    def _probabilities(self, windows: np.ndarray) -> dict[str, np.ndarray]:
        """Probabilities : {task: float32 (n, classes)} of windows (n, n_mels, length, 1)."""
        outputs = [classifier.predict(windows) for classifier in self.classifiers]
        return {task: np.mean([output[task] for output in outputs], axis=0) for task in TASKS}


@lru_cache(maxsize=1)
def _shipped() -> Predictor:
    return Predictor.load()


def predict_file(path: str | Path, predictor: Predictor | None = None) -> pd.DataFrame:
    """The emotion of a sound file over time: a row per window.

    predictor : None uses the model that comes with the suite

    Raises UnusableRecording, with the reason, when the file cannot be decoded, is silent or shorter
    than a window.
    """
    return (predictor or _shipped()).table(path)
