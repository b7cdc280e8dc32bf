"""Finished runs -> tables, figure and page.

Start reading in results_stage.
"""
