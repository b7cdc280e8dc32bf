"""Keras builders, the catalogue of encoders, and models from disk.

Start with catalogue. A builder takes its sizes as arguments; it reads no files and no settings.
"""
