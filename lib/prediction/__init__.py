"""Predict the emotion of sound files.

    from lib.prediction import Predictor, predict_file

Start with predictor. prediction_stage is the stage behind predict.py.
"""

__all__ = ["Predictor", "predict_file"]


def __getattr__(name: str):
    """Import a name on first use, so that importing this package does not start Keras."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lib.prediction import predictor

    return getattr(predictor, name)
