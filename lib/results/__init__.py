"""Finished runs -> tables, figure and page.

Start with results_stage.
"""
