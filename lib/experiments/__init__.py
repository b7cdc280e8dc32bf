"""Experiments of many runs: the label study and the demo."""
