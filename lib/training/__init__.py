"""Batches, the optimiser, and a training that goes on where it was stopped.

Start with fit.
"""
