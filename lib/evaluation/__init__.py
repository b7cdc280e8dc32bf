"""Metrics, calibration and intervals: pure functions on arrays and on tables of predictions.

Start with metrics.
"""
