"""The encoders by the names of -mod, with their titles and sections. Imports nothing heavy."""

from __future__ import annotations

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
