"""What the flags may say, and which module builds which model. Imports nothing heavy."""

from __future__ import annotations

LANGUAGES = {"e": "english", "m": "mandarin", "x": "mix"}
# what an encoder may come from besides speech
SOURCES = LANGUAGES | {"u": "the music itself without its labels", "n": "none, random weights"}
SHORT = {"e": "eng", "m": "man", "x": "mix", "u": "own", "n": "none"}

# Names of -mod: encoders pretrained by denoising, by contrastive prediction, and the baselines that
# are trained from scratch on music
DENOISERS = ("model_over", "model_over_mask")
PREDICTIVE = ("model_cpc", "model_cpc_nce")
PROBE = "model_svm"  # a support vector machine on log-mel statistics
BASELINES = ("model_cnn", PROBE)
TITLES = {  # the first three as the paper calls them
    "model_over": "SCAE",
    "model_cpc": "CPC",
    "model_cnn": "CNN",
    "model_over_mask": "masked",
    "model_cpc_nce": "CPC-NCE",
    PROBE: "log-mel statistics",
}


def title(model: str) -> str:
    """How tables and figures call a model, with the tag of its runs ("model_cpc_nce.aug")."""
    name, _, tag = model.partition(".")
    return TITLES.get(name, name) + (f", {tag}" if tag else "")


# sections of the settings that pretraining takes beside those that all share
SECTIONS = {
    "model_over": ("scae",),
    "model_over_mask": ("mask", "framewise"),
    "model_cpc": ("cpc",),
    "model_cpc_nce": ("nce", "framewise"),
}

TASKS = {  # task -> its classes, in the order of the outputs
    "quadrants": ("Q1", "Q2", "Q3", "Q4"),
    "arousal": ("negative", "positive"),
    "valence": ("negative", "positive"),
}
QUADRANTS = TASKS["quadrants"]
MEASURE = "quadrants_balanced_accuracy"  # what is shown of a training beside the losses

# suffixes of sound files, which are told by their content; in any case
SOUND = (".mp3", ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc")
SOUND += (".au", ".caf", ".w64", ".mp2", ".m4a", ".aac", ".wma", ".ape", ".wv", ".tta", ".mka")

# quadrant -> (arousal, valence) as class indices: Q1 = ++, Q2 = +-, Q3 = --, Q4 = -+
PLANE = {"Q1": (1, 1), "Q2": (1, 0), "Q3": (0, 0), "Q4": (0, 1)}
