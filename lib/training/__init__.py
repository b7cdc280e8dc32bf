"""Batches, the optimiser, and training that resumes where it stopped.

Start with fit.
"""
