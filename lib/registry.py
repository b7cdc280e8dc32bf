"""What the flags may say, and which module builds which model. Imports nothing heavy."""

from __future__ import annotations

LANGUAGES = {"e": "english", "m": "mandarin", "x": "mix"}
SHORT = {"e": "eng", "m": "man", "x": "mix"}

# name -> what pretrains it; "scratch" is trained on music only. The builders are in lib/<room>.py
DENOISERS = {"model_over": "scae"}
PREDICTIVE = {"model_cpc": "cpc"}
BASELINES = {"model_cnn": "cnn"}

TASKS = {  # task -> its classes, in the order of the outputs
    "quadrants": ("Q1", "Q2", "Q3", "Q4"),
    "arousal": ("negative", "positive"),
    "valence": ("negative", "positive"),
}
QUADRANTS = TASKS["quadrants"]

# quadrant -> (arousal, valence) as class indices: Q1 = ++, Q2 = +-, Q3 = --, Q4 = -+
PLANE = {"Q1": (1, 1), "Q2": (1, 0), "Q3": (0, 0), "Q4": (0, 1)}
