"""The languages, and the labels of music: tasks, classes, quadrants."""

from __future__ import annotations

LANGUAGES = {"e": "english", "m": "mandarin", "x": "mix"}
KINDS = {"m": "music", "s": "speech"}  # of data sets, by the letters of -d
# what an encoder can be pretrained on; n: it is not pretrained
SOURCES = LANGUAGES | {"u": "the music itself without its labels", "n": "none, random weights"}
# their names in run directories; c: codes from a file instead of an encoder of the suite
SHORT_NAMES = {"e": "eng", "m": "man", "x": "mix", "u": "own", "n": "none", "c": "codes"}
TASKS = {  # task -> its classes, in the order of the outputs
    "quadrants": ("Q1", "Q2", "Q3", "Q4"),
    "arousal": ("negative", "positive"),
    "valence": ("negative", "positive"),
}
QUADRANTS = TASKS["quadrants"]
MEASURE = "quadrants_balanced_accuracy"  # shown during a training in addition to the losses
# suffixes of sound files, in upper or lower case; the format is detected from the content
SOUND = (".mp3", ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc")
SOUND += (".au", ".caf", ".w64", ".mp2", ".m4a", ".aac", ".wma", ".ape", ".wv", ".tta", ".mka")
CODES = ".codes"  # suffix of codes files (lib.datasets.codes_file)
# quadrant -> (arousal, valence) as class indices: Q1 = ++, Q2 = +-, Q3 = --, Q4 = -+
QUADRANT_SIGNS = {"Q1": (1, 1), "Q2": (1, 0), "Q3": (0, 0), "Q4": (0, 1)}


def columns_of(task: str) -> list[str]:
    """The columns of a table of predictions that hold the probabilities of a task."""
    return [f"p_{task}_{name}" for name in TASKS[task]]
