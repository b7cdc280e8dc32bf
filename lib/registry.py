"""What the flags may say, and which module builds which model. Imports nothing heavy."""

from __future__ import annotations

LANGUAGES = {"e": "english", "m": "mandarin", "x": "mix"}
SHORT = {"e": "eng", "m": "man", "x": "mix"}

# Names of -mod: encoders pretrained by denoising, by contrastive prediction, and the baselines that
# are trained from scratch on music
DENOISERS = ("model_over",)
PREDICTIVE = ("model_cpc",)
BASELINES = ("model_cnn",)
TITLES = {"model_over": "SCAE", "model_cpc": "CPC", "model_cnn": "CNN"}  # as the paper calls them

TASKS = {  # task -> its classes, in the order of the outputs
    "quadrants": ("Q1", "Q2", "Q3", "Q4"),
    "arousal": ("negative", "positive"),
    "valence": ("negative", "positive"),
}
QUADRANTS = TASKS["quadrants"]

# quadrant -> (arousal, valence) as class indices: Q1 = ++, Q2 = +-, Q3 = --, Q4 = -+
PLANE = {"Q1": (1, 1), "Q2": (1, 0), "Q3": (0, 0), "Q4": (0, 1)}
