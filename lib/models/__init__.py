"""Keras builders, the catalogue of encoders, and models from disk.

Start with catalogue. A builder's sizes are its arguments; it knows no files and no settings.
"""
