"""Sound files -> emotions.

    from lib.prediction import Predictor, predict_file

Start with predictor; prediction_stage is the stage behind predict.py.
"""

__all__ = ["Predictor", "predict_file"]


def __getattr__(name: str):
    """Both names on their first use: importing this package alone starts no Keras."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lib.prediction import predictor

    return getattr(predictor, name)
